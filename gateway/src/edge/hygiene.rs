//! Requests that two servers could read in two ways are refused before anything else.

use axum::extract::Request;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Version};
use mainstay::kernel::error::{Error, INVALID_ARGUMENT, Result};

use crate::error::{UNSUPPORTED_MEDIA_TYPE, URI_TOO_LONG};

/// Refuses an overlong address, and what RFC 9112 (sections 3.2 and 6.1) wants refused: no Host or
/// several, and a length beside a transfer encoding.
pub(crate) fn check(request: &Request, uri_max_bytes: usize) -> Result<()> {
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > uri_max_bytes {
        let message = format!("path and query are longer than {uri_max_bytes} bytes");
        return Err(Error::new(URI_TOO_LONG, message));
    }
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(Error::new(INVALID_ARGUMENT, "a request has exactly one Host"));
    }
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        let message = "Content-Length and Transfer-Encoding contradict each other";
        return Err(Error::new(INVALID_ARGUMENT, message));
    }
    Ok(())
}

/// Refuses a body in an encoding (RFC 9110, sections 8.4 and 15.5.16): a few bytes of it could be a
/// great many, and what is sent here is small. The reply says which encoding is accepted.
pub(super) fn check_encoding(headers: &HeaderMap, reply: &mut HeaderMap) -> Result<()> {
    let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(is_identity) {
        return Ok(());
    }
    reply.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Err(Error::new(UNSUPPORTED_MEDIA_TYPE, "the body is to come in no Content-Encoding"))
}
