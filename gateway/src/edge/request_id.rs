//! Request ids: every reply carries one, and every log line and service that the request reaches.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay::kernel::call::{self, Call};

/// The header that carries the id, both ways.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a caller.
const LONGEST: usize = 128;

/// Keeps a sound id of the caller's, makes one where there is none, and echoes it.
pub(crate) async fn assign<F: Future<Output = Response>>(
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let id = given(request.headers()).unwrap_or_else(call::new_request_id);
    let echo = HeaderValue::from_str(&id);
    let call = Call { request_id: id, peer: String::new(), user: None, deadline: None };
    let mut response = call::scope(Arc::new(call), next(request)).await;
    if let Ok(echo) = echo {
        response.headers_mut().insert(X_REQUEST_ID, echo);
    }
    response
}

/// The id of the request that this task serves.
pub(crate) fn current() -> String {
    call::current().map(|call| call.request_id.clone()).unwrap_or_default()
}

/// An id that can stand in logs and headers as it is; anything else is replaced.
fn given(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(&X_REQUEST_ID).iter();
    let (only, None) = (values.next()?, values.next()) else { return None };
    let id = only.to_str().ok()?;
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (!id.is_empty() && id.len() <= LONGEST && id.bytes().all(safe)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sound_ids_are_taken_over() {
        let headers = |values: &[&str]| -> HeaderMap {
            let pairs = values.iter().filter_map(|value| HeaderValue::from_str(value).ok());
            pairs.map(|value| (X_REQUEST_ID, value)).collect()
        };
        assert_eq!(given(&headers(&["a-1_2.3:4"])).as_deref(), Some("a-1_2.3:4"));
        let long = "x".repeat(129);
        for values in [&["a b"][..], &["é"], &[""], &["a", "b"], &["{\"a\":1}"], &[&long], &[]] {
            assert_eq!(given(&headers(values)), None, "{values:?}");
        }
    }
}
