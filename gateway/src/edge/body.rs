//! Reading a request's body: bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mainstay::kernel::error::{Error, INVALID_ARGUMENT, PAYLOAD_TOO_LARGE, Result};

use crate::error::REQUEST_TIMEOUT;

/// How much of an unwanted body is taken in, and for how long.
const MOST_DISCARDED: usize = 8 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Reads the whole body. One that announces to be too large is not begun.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    most_bytes: usize,
    timeout: Duration,
) -> Result<Bytes> {
    let mut body = if_not_larger(headers, body, most_bytes)?;
    let read = Limited::new(&mut body, most_bytes).collect();
    match tokio::time::timeout(timeout, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => {
            discard(body);
            Err(too_large(most_bytes))
        }
        Ok(Err(_)) => Err(Error::new(INVALID_ARGUMENT, "the body broke off")),
        Err(_) => Err(too_slow(timeout)),
    }
}

/// The body, unless it announces to be larger.
pub(super) fn if_not_larger(headers: &HeaderMap, body: Body, most_bytes: usize) -> Result<Body> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: Option<usize> = announced.and_then(|length| length.parse().ok());
    if announced.is_some_and(|length| length > most_bytes) {
        discard(body);
        return Err(too_large(most_bytes));
    }
    Ok(body)
}

/// Takes in what a caller still sends of a body that nobody wants any more. A connection that is closed
/// with bytes unread is reset, and a caller who sends to the end before it looks for a reply finds none
/// (RFC 9112, section 9.6). The reply does not wait for it.
pub(super) fn discard(mut body: Body) {
    if body.is_end_stream() {
        return;
    }
    let rest = async move {
        let mut left = MOST_DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(after) = left.checked_sub(bytes) else { return };
            left = after;
        }
    };
    tokio::spawn(tokio::time::timeout(DISCARD_TIME, rest));
}

/// What is said of a body that does not come.
pub(super) fn too_slow(timeout: Duration) -> Error {
    let message = format!("the body did not arrive within {} s", timeout.as_secs());
    Error::new(REQUEST_TIMEOUT, message)
}

/// What is said of a body that is more than is taken.
pub(super) fn too_large(most_bytes: usize) -> Error {
    Error::new(PAYLOAD_TOO_LARGE, format!("the body is larger than {most_bytes} bytes"))
        .detail("max_bytes", most_bytes.to_string())
}
