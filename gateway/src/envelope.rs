//! Successful replies: JSON, enveloped or plain, or bytes as they are.

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, ETAG};
use mainstay::kernel::etag::opaque;
use serde_json::Value as Json;

use crate::transcode::render::Rendered;

const JSON: &str = "application/json";

/// The reply of a rendered message.
pub(crate) fn reply(rendered: Rendered) -> Response {
    match rendered {
        Rendered::Raw { content_type, data } => raw(&content_type, data),
        Rendered::Json { body, etag: stated } => {
            let mut response = raw(JSON, body.into());
            if let Some(etag) = stated.as_deref().and_then(etag) {
                response.headers_mut().insert(ETAG, etag);
            }
            response
        }
    }
}

/// A reply of JSON.
pub(crate) fn json(value: &Json) -> Response {
    raw(JSON, value.to_string().into())
}

/// A reply of bytes.
pub(crate) fn raw(content_type: &str, data: bytes::Bytes) -> Response {
    let mut response = Response::new(Body::from(data));
    let content_type = HeaderValue::from_str(content_type)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A resource's etag as a weak validator (RFC 9110, section 8.8.3): with another request id or in another
/// coding, the same state has other bytes.
fn etag(stated: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("W/\"{}\"", opaque(stated))).ok()
}
