//! Cross-Origin Resource Sharing (the Fetch standard): which web pages may call from a browser.
//!
//! Tokens travel in a header that scripts set themselves, never in cookies, so credentials in the
//! sense of the standard are never allowed.

use std::borrow::Cow;
use std::collections::HashSet;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::observe::Answered;
use super::{Edge, hygiene};
use crate::config::{CorsGroup, GatewaySettings};
use crate::route::percent;

/// The headers of replies that every page may read.
const REPLY_HEADERS: &str = "etag, grpc-message, grpc-status, grpc-status-details-bin, \
                             idempotency-replayed, ratelimit, ratelimit-policy, retry-after, x-request-id";

/// Before the names of trailers that Connect has among the headers.
const TRAILER: &str = "trailer-";

/// Answers preflights and marks replies for the origins that the settings name.
pub(crate) async fn apply<F: Future<Output = Response>>(
    edge: &Edge,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let uri = request.uri().clone();
    let origin = request.headers().get(ORIGIN).cloned();
    let is_preflight = origin.is_some()
        && *request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match is_preflight {
        true => hygiene::check(edge, &request).err().unwrap_or_else(preflight),
        false => next(request).await,
    };
    let policies = edge.policies.load();
    let group = policies.cors.group(uri.path());
    if !group.marks(response.headers_mut(), origin.as_ref()) {
        return response;
    }
    match is_preflight {
        true => group.permit(response.headers_mut()),
        false => expose(&mut response),
    }
    response
}

/// Lets the page read the gateway's own headers and those that the contract declares.
fn expose(response: &mut Response) {
    let declared = match response.extensions().get() {
        Some(Answered::By(route)) => &*route.rpc.policy.response_headers,
        Some(Answered::Rpc(rpc)) => &*rpc.policy.response_headers,
        Some(Answered::Own(_)) | None => &[],
    };
    let trailers = response.headers().keys().filter(|name| name.as_str().starts_with(TRAILER));
    let names = declared.iter().chain(trailers).map(HeaderName::as_str);
    let value = std::iter::once(REPLY_HEADERS).chain(names).collect::<Vec<_>>().join(", ");
    // Names of headers are always what may stand in one.
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, value);
    }
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A path as routes see it, which has no escapes where none is needed. One whose escapes are no text stays
/// as it is: no route takes it.
fn as_routed(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    percent::decode_but_delimiters(path).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// The groups of routes, compiled.
pub(crate) struct CorsPolicies {
    /// The longest prefix first.
    groups: Vec<Group>,
    default: Group,
}

struct Group {
    prefix: String,
    is_open: bool,
    origins: HashSet<HeaderValue>,
    methods: HeaderValue,
    headers: HeaderValue,
    max_age: HeaderValue,
}

impl CorsPolicies {
    /// Compiles the groups of the settings; what belongs to none is by `cors_origins`.
    ///
    /// # Errors
    /// When something cannot stand in a header or a path.
    pub(crate) fn compile(settings: &GatewaySettings) -> anyhow::Result<Self> {
        let default = CorsGroup {
            origins: settings.cors_origins.clone(),
            max_age: settings.cors_max_age,
            ..CorsGroup::default()
        };
        let groups = settings.cors_groups.iter().map(Group::compile);
        let mut groups = groups.collect::<anyhow::Result<Vec<_>>>()?;
        groups.sort_by_key(|group| std::cmp::Reverse(group.prefix.len()));
        Ok(Self { groups, default: Group::compile(&default)? })
    }

    /// Whether pages of an origin may call a path.
    pub(crate) fn lets(&self, path: &str, origin: &HeaderValue) -> bool {
        self.group(path).lets(origin)
    }

    fn group(&self, path: &str) -> &Group {
        let path = as_routed(path);
        self.groups.iter().find(|group| group.has(&path)).unwrap_or(&self.default)
    }
}

impl Group {
    fn compile(stated: &CorsGroup) -> anyhow::Result<Self> {
        let origins = stated.origins.iter().map(HeaderValue::try_from);
        Ok(Self {
            prefix: percent::decode_but_delimiters(&stated.prefix)?,
            is_open: stated.origins.iter().any(|origin| origin == "*"),
            origins: origins.collect::<Result<_, _>>()?,
            methods: HeaderValue::try_from(stated.methods.join(", "))?,
            headers: HeaderValue::try_from(stated.headers.join(", "))?,
            max_age: HeaderValue::from(stated.max_age.as_secs()),
        })
    }

    /// Whether a path begins with the group's prefix, in whole segments.
    fn has(&self, path: &str) -> bool {
        path.strip_prefix(&self.prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
    }

    fn lets(&self, origin: &HeaderValue) -> bool {
        self.is_open || self.origins.contains(origin)
    }

    /// Says whether pages of the origin may read the reply, and whether they may.
    fn marks(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) -> bool {
        if !self.origins.is_empty() && !self.is_open {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin.filter(|origin| self.lets(origin)) else { return false };
        let allowed = if self.is_open { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        true
    }

    /// Answers what a preflight asks.
    fn permit(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_of_whole_segments_counts() {
        let group = |prefix: &str| CorsGroup { prefix: prefix.into(), ..CorsGroup::default() };
        let settings = GatewaySettings {
            cors_groups: ["/api", "/api/v1/books", "/api/v1", "/caf%C3%A9"].map(group).into(),
            ..GatewaySettings::default()
        };
        let policies = CorsPolicies::compile(&settings).unwrap();
        let rows = [
            ("/api/v1/books", "/api/v1/books"),
            ("/api/v1/books/b1", "/api/v1/books"),
            ("/api/v1/books:archive", "/api/v1/books"),
            ("/api/v1/bookshelves", "/api/v1"),
            ("/api/v2", "/api"),
            ("/apis", ""),
            ("/", ""),
            ("/api/v1/%62ooks", "/api/v1/books"),
            ("/%61pi/v1/books/%2F", "/api/v1/books"),
            ("/api/v1/books%2Fb1", "/api/v1"),
            ("/api/v1/books%3Aarchive", "/api/v1"),
            ("/api/v1/books/%ff", "/api/v1/books"),
            ("/caf%c3%a9", "/café"),
        ];
        for (path, prefix) in rows {
            assert_eq!(policies.group(path).prefix, prefix, "{path}");
        }
    }
}
