//! What every reply tells browsers, whoever it is from and whatever became of the request: not to guess,
//! not to frame, not to run, not to tell others. What a reply says itself stays, as the explorer page's own
//! content security policy does.

use anyhow::Context as _;
use axum::extract::Request;
use axum::response::Response;
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderName, HeaderValue};
use mainstay::kernel::server::Peer;

use super::Edge;
use crate::config::GatewaySettings;

/// Headers that every reply has unless the settings say otherwise. The replies are data: no page, no
/// script and no frame needs anything of them.
const DEFAULTS: [(&str, &str); 5] = [
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    (
        "permissions-policy",
        "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), \
         payment=(), usb=()",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers, compiled.
pub(crate) struct SecurityHeaders {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For replies that travel over TLS.
    transport: Option<HeaderValue>,
}

impl SecurityHeaders {
    /// Compiles the headers of the settings.
    ///
    /// # Errors
    /// When one is no header.
    pub(crate) fn compile(settings: &GatewaySettings) -> anyhow::Result<Self> {
        let stated = &settings.security_headers;
        let defaults = DEFAULTS.iter().map(|(name, value)| (*name, *value));
        let defaults = defaults.filter(|(name, _)| !stated.contains_key(*name));
        let all = defaults.chain(stated.iter().map(|(name, value)| (&**name, &**value)));
        let headers = all.filter(|(_, value)| !value.is_empty()).map(|(name, value)| {
            let what = || format!("gateway.security_headers: `{name}: {value}` is no header");
            let lower = name.chars().all(|c| !c.is_ascii_uppercase());
            anyhow::ensure!(lower, "{}: write the name in lower case", what());
            let name = HeaderName::try_from(name).with_context(what)?;
            Ok((name, HeaderValue::try_from(value).with_context(what)?))
        });
        let max_age = settings.hsts_max_age.as_secs();
        let transport = (max_age > 0).then(|| format!("max-age={max_age}; includeSubDomains"));
        Ok(Self {
            headers: headers.collect::<anyhow::Result<_>>()?,
            transport: transport.map(HeaderValue::try_from).transpose()?,
        })
    }
}

/// Gives every reply its headers.
pub(crate) async fn apply<F: Future<Output = Response>>(
    edge: &Edge,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let is_encrypted = is_encrypted(&request, edge.settings.trusted_hops);
    let mut response = next(request).await;
    let policies = edge.policies.load();
    let headers = response.headers_mut();
    for (name, value) in &policies.security.headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    // Over plain HTTP it is to be ignored, and not to be sent (RFC 6797, section 7.2).
    if let Some(transport) = policies.security.transport.as_ref().filter(|_| is_encrypted) {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| transport.clone());
    }
    response
}

/// Whether the client speaks TLS, with us or with a proxy of ours that says so.
fn is_encrypted(request: &Request, trusted_hops: usize) -> bool {
    let mut stated = request.headers().get_all(&X_FORWARDED_PROTO).iter();
    let forwarded = trusted_hops > 0
        && stated.next_back().is_some_and(|scheme| scheme.as_bytes().ends_with(b"https"));
    forwarded || request.extensions().get::<Peer>().is_some_and(|peer| peer.is_encrypted)
}
