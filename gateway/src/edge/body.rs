//! Reading a request's body: bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mainstay::kernel::error::{Error, INVALID_ARGUMENT, PAYLOAD_TOO_LARGE, Result};

use crate::error::REQUEST_TIMEOUT;

/// Reads the whole body. One that announces to be too large is not begun.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    most_bytes: usize,
    timeout: Duration,
) -> Result<Bytes> {
    refuse_announced(headers, most_bytes)?;
    match tokio::time::timeout(timeout, Limited::new(body, most_bytes).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => Err(too_large(most_bytes)),
        Ok(Err(_)) => Err(Error::new(INVALID_ARGUMENT, "the body broke off")),
        Err(_) => Err(too_slow(timeout)),
    }
}

/// Refuses a body that announces to be larger.
pub(super) fn refuse_announced(headers: &HeaderMap, most_bytes: usize) -> Result<()> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: Option<usize> = announced.and_then(|length| length.parse().ok());
    match announced {
        Some(length) if length > most_bytes => Err(too_large(most_bytes)),
        _ => Ok(()),
    }
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
