//! Compression of replies: gzip, br and zstd, as the caller accepts them.
//!
//! Only what was marked is compressed: replies of methods without side effects, and the gateway's own
//! pages. Length tells of content: where a secret stands beside text that an attacker chooses, and the
//! attacker can make the victim ask again and again, the lengths of compressed replies give the secret away
//! (the attack BREACH). Nobody can make a browser send our tokens, which are in no cookie; all the same,
//! tokens come from methods with side effects, and a reply whose contract marks a field as secret is
//! never compressed. Streams have no known size and are left alone: each of their messages is to leave
//! at once.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version};
use http_body::Body as _;
use mainstay::kernel::policy::{Idempotency, MethodPolicy};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::compression::CompressionLayer;

use super::Edge;
use super::caching::LeftOut;

/// Media types of text, beside `text/*` and those that end in `+json` or `+xml`.
const TEXTS: [&str; 4] =
    ["application/json", "application/javascript", "application/xml", "application/yaml"];

/// A kind of text that is a stream.
const EVENT_STREAM: &str = "text/event-stream";

/// Marks a reply that may be compressed.
#[derive(Clone, Copy, Debug)]
struct Compressible;

/// Compresses a reply that is worth it, as the request's `Accept-Encoding` says, and says
/// `Vary: accept-encoding` of one that it would compress for others, or that stands for such a one (RFC
/// 9110, section 15.4.5).
pub(crate) async fn apply<F: Future<Output = Response>>(
    edge: &Edge,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let accepted = request.headers().get_all(ACCEPT_ENCODING).iter().cloned().collect::<Vec<_>>();
    let mut response = next(request).await;
    let min_bytes = u64::try_from(edge.settings.compression_min_bytes).unwrap_or(u64::MAX);
    if !is_worthwhile(&response, min_bytes) {
        return response;
    }
    if response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
        return response;
    }
    compressed(accepted, response).await
}

async fn compressed(accepted: Vec<HeaderValue>, response: Response) -> Response {
    let mut request = http::Request::new(());
    let accepted = accepted.into_iter().map(|value| (ACCEPT_ENCODING, value));
    request.headers_mut().extend(accepted);
    let mut response = Some(response);
    let answer = service_fn(move |_| {
        let response = response.take().unwrap_or_default();
        async move { Ok::<_, Infallible>(response) }
    });
    let always = |_: StatusCode, _: Version, _: &HeaderMap, _: &Extensions| true;
    let layer = CompressionLayer::new().compress_when(always);
    let Ok(response) = layer.layer(answer).oneshot(request).await;
    response.map(Body::new)
}

/// Marks the reply of a method, if it may be compressed.
pub(super) fn allow(policy: &MethodPolicy, response: &mut Response) {
    let is_harmless = policy.idempotency == Idempotency::NoSideEffects && !policy.secret_reply;
    if is_harmless && is_content(response.status()) {
        allow_always(response);
    }
}

/// Whether a reply is the content that was asked for, or stands for it.
pub(super) fn is_content(status: StatusCode) -> bool {
    status == StatusCode::OK || status == StatusCode::NOT_MODIFIED
}

/// Marks a reply that holds nothing secret.
pub(super) fn allow_always(response: &mut Response) {
    response.extensions_mut().insert(Compressible);
}

/// Whether a reply is marked, text at rest, and of some size.
fn is_worthwhile(response: &Response, min_bytes: u64) -> bool {
    let header = |name| response.headers().get(name);
    let (size, content_type) = match response.extensions().get() {
        Some(LeftOut { size, content_type }) => (*size, content_type.as_ref()),
        None => (response.body().size_hint().exact(), header(CONTENT_TYPE)),
    };
    response.extensions().get::<Compressible>().is_some()
        && size.is_some_and(|size| size >= min_bytes)
        && text(content_type).is_some_and(is_text)
        && !text(header(CACHE_CONTROL)).is_some_and(|rule| rule.contains("no-transform"))
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

/// Whether a media type is text at rest; the others are compressed already, or streams.
fn is_text(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_xml_or_json = media_type.ends_with("+json") || media_type.ends_with("+xml");
    let is_plain = media_type.starts_with("text/") && media_type != EVENT_STREAM;
    is_plain || is_xml_or_json || TEXTS.contains(&media_type.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_text_of_some_size_is_compressed() {
        let rows = [
            ("application/json", 1024, true),
            ("application/json; charset=utf-8", 2000, true),
            ("Text/HTML", 2000, true),
            ("image/svg+xml", 2000, true),
            ("application/json", 1023, false),
            ("text/event-stream", 2000, false),
            ("application/x-ndjson", 2000, false),
            ("application/grpc", 2000, false),
            ("image/png", 2000, false),
            ("application/zip", 2000, false),
            ("", 2000, false),
        ];
        let is_worthwhile = |response: &Response| is_worthwhile(response, 1024);
        for (content_type, bytes, expected) in rows {
            let mut response = Response::new(Body::from(vec![b'x'; bytes]));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert!(!is_worthwhile(&response), "{content_type}: it is not marked");
            allow_always(&mut response);
            assert_eq!(is_worthwhile(&response), expected, "{content_type} {bytes}");
            let rule = HeaderValue::from_static("public, no-transform");
            response.headers_mut().insert(CACHE_CONTROL, rule);
            assert!(!is_worthwhile(&response), "{content_type}: it is to stay as it is");
        }
        let pieces = futures::stream::iter([Ok::<_, std::io::Error>(vec![b'x'; 5000])]);
        let mut response = Response::new(Body::from_stream(pieces));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        allow_always(&mut response);
        assert!(!is_worthwhile(&response), "a stream is left alone");
    }
}
