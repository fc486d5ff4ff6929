//! What a reply may be kept for and how it is asked for again: `ETag` and conditional requests
//! (RFC 9110, sections 8.8.3 and 13), `Cache-Control` (RFC 9111, section 5.2).
//!
//! Replies of methods without side effects to GET and HEAD have a validator: the resource's own `etag`,
//! or else one that is made of what the service answered, which those to a GET of Connect always have. Both
//! are weak: the envelope's request id is in neither, since it is another each time. A request
//! whose `If-None-Match` has the validator is answered 304; it has passed every policy, and the service was
//! asked. There is no `Last-Modified`.

use std::borrow::Cow;

use axum::body::HttpBody as _;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use mainstay::kernel::policy::{Access, Idempotency, MethodPolicy};
use xxhash_rust::xxh3::xxh3_128;

use super::exchange::Exchange;
use super::front::Front;
use crate::route::{Form, Route};

/// Whether replies of a route have validators.
pub(crate) fn is_validated(route: &Route) -> bool {
    route.method == Method::GET
        && route.form == Form::Unary
        && route.rpc.policy.idempotency == Idempotency::NoSideEffects
}

/// Gives a reply its validator. `content` is what the service answered.
pub(super) fn tag(route: &Route, content: &[u8], response: &mut Response) {
    if is_validated(route) && !response.headers().contains_key(ETAG) {
        response.headers_mut().extend(weak_tag(content).map(|tag| (ETAG, tag)));
    }
}

/// A weak validator of the content. It is no digest that withstands an attack: who makes two contents
/// with the same tag is sent one of them for the other, and both are their own.
pub(super) fn weak_tag(content: &[u8]) -> Option<HeaderValue> {
    let digest = URL_SAFE_NO_PAD.encode(xxh3_128(content).to_be_bytes());
    HeaderValue::try_from(["W/\"", &digest, "\""].concat()).ok()
}

/// Says what the reply may be kept for, and leaves out what the caller has already.
pub(super) fn finish(exchange: &Exchange, mut response: Response) -> Response {
    let asks = match &exchange.front {
        Front::Rest(target) => is_validated(&target.route),
        // Only what has no side effects is a GET there.
        Front::Connect(_) => exchange.head.method == Method::GET,
        Front::Grpc { .. } => false,
    };
    let is_kept = asks && response.status() == StatusCode::OK;
    let kept = is_kept.then_some(&*exchange.rpc.policy);
    let rule = kept.map_or(Cow::Borrowed("no-store"), freshness);
    let headers = response.headers_mut();
    if let Ok(rule) = HeaderValue::try_from(&*rule) {
        headers.insert(CACHE_CONTROL, rule);
    }
    let Some(policy) = kept else { return response };
    if has_user(policy) {
        headers.append(VARY, HeaderValue::from_static("authorization, x-api-key"));
    }
    not_modified(&exchange.head.headers, response)
}

fn has_user(policy: &MethodPolicy) -> bool {
    !matches!(policy.access, Access::Public | Access::Webhook)
}

/// What is a user's own is not stored unless the contract says so; everything else is asked for anew.
fn freshness(policy: &MethodPolicy) -> Cow<'static, str> {
    match &policy.cache {
        Some(rule) if rule.shared => format!("public, max-age={}", rule.max_age.as_secs()).into(),
        Some(rule) => format!("private, max-age={}", rule.max_age.as_secs()).into(),
        None if has_user(policy) => "no-store".into(),
        None => "no-cache".into(),
    }
}

/// The reply, or 304 in its place where the caller has it already.
pub(super) fn not_modified(request: &HeaderMap, mut response: Response) -> Response {
    let Some(tag) = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()) else {
        return response;
    };
    let lines = request.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    if !lines.into_iter().any(|line| names(line, tag)) {
        return response;
    }
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let size = std::mem::take(response.body_mut()).size_hint().exact();
    let content_type = response.headers_mut().remove(CONTENT_TYPE);
    response.headers_mut().remove(CONTENT_LENGTH);
    response.extensions_mut().insert(LeftOut { size, content_type });
    response
}

/// What a 304 stands for; an extension of it.
#[derive(Clone, Debug)]
pub(super) struct LeftOut {
    /// How long the content is, where that is known.
    pub(super) size: Option<u64>,
    /// What the content is.
    pub(super) content_type: Option<HeaderValue>,
}

/// Whether a line of `If-None-Match` names the tag, by weak comparison. What is no list of tags names
/// none from there on.
fn names(line: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let (wanted, mut rest) = (opaque(tag), line.trim());
    if rest == "*" {
        return true;
    }
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let quoted = rest.strip_prefix("W/").unwrap_or(rest);
        let Some((inside, after)) =
            quoted.strip_prefix('"').and_then(|inside| inside.split_once('"'))
        else {
            return false;
        };
        if wanted.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(inside) {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_one_by_one() {
        let rows = [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("*", true),
            ("\"b\", \"a\"", true),
            ("\"b\",W/\"a\" , \"c\"", true),
            (",, \"a\"", true),
            ("\"b\"", false),
            ("\"A\"", false),
            ("a", false),
            ("\"b, a\"", false),
            ("\"b\" nonsense, \"a\"", false),
            ("\"a", false),
            ("", false),
        ];
        for (line, named) in rows {
            assert_eq!(names(line, "\"a\""), named, "{line}");
            assert_eq!(names(line, "W/\"a\""), named, "{line}");
        }
        assert!(names("\"a,b\"", "\"a,b\""));
    }

    #[test]
    fn equal_contents_have_equal_tags() {
        assert_eq!(weak_tag(b"a"), weak_tag(b"a"));
        assert_ne!(weak_tag(b"a"), weak_tag(b"b"));
        assert!(weak_tag(b"").is_some_and(|tag| tag.as_bytes().starts_with(b"W/\"")));
    }
}
