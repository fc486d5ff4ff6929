//! Successful replies: `{"data": …, "meta": {…}}`, plain JSON, or bytes as they are.

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, ETAG};
use serde_json::{Map, Value as Json, json};

use crate::transcode::render::Rendered;

/// Field of a list's reply that says how many match in all.
const TOTAL_SIZE: &str = "total_size";

/// Wraps a reply. `sign` turns the contract's page token into a cursor.
pub(crate) fn enveloped(
    rendered: Rendered,
    request_id: &str,
    sign: impl FnOnce(&str) -> String,
) -> Response {
    match rendered {
        Rendered::Raw { content_type, data } => raw(&content_type, data),
        Rendered::Single(data) => {
            let etag = etag(&data);
            let mut response = json(&json!({ "data": data, "meta": { "request_id": request_id } }));
            if let Some(etag) = etag {
                response.headers_mut().insert(ETAG, etag);
            }
            response
        }
        Rendered::List { items, next_page_token, rest } => {
            let mut meta = list_meta(rest);
            meta.insert("request_id".into(), request_id.into());
            if let Some(token) = next_page_token {
                meta.insert("next_cursor".into(), sign(&token).into());
            }
            json(&json!({ "data": items, "meta": meta }))
        }
    }
}

/// A reply without envelope.
pub(crate) fn plain(rendered: Rendered) -> Response {
    match rendered {
        Rendered::Raw { content_type, data } => raw(&content_type, data),
        Rendered::Single(data) => json(&data),
        Rendered::List { items, .. } => json(&items),
    }
}

/// A reply of JSON.
pub(crate) fn json(value: &Json) -> Response {
    raw("application/json", value.to_string().into())
}

fn raw(content_type: &str, data: bytes::Bytes) -> Response {
    let mut response = Response::new(Body::from(data));
    let content_type = HeaderValue::from_str(content_type)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// What a list says beside its items; the total goes by its REST name.
fn list_meta(mut rest: Map<String, Json>) -> Map<String, Json> {
    if let Some(total) = rest.remove(TOTAL_SIZE) {
        rest.insert("total".into(), total);
    }
    rest
}

/// A resource's etag as a strong validator (RFC 9110, section 8.8.3).
fn etag(data: &Json) -> Option<HeaderValue> {
    let etag = data.get("etag")?.as_str().filter(|etag| !etag.is_empty())?;
    HeaderValue::from_str(&format!("\"{}\"", etag.trim_matches('"'))).ok()
}
