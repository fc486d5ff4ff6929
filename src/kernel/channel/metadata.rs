//! What travels beside a message: identity, trace and deadline.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::kernel::call;
use crate::kernel::telemetry::propagation;

/// Id of the request, the same in every service it passes.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Id of the user on whose behalf a call is made.
pub(crate) const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// The user's plan.
pub(crate) const USER_PLAN: HeaderName = HeaderName::from_static("x-user-plan");
/// Id of the session whose access token was used.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
/// How long the caller still waits, by the gRPC specification.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("mainstay/", env!("CARGO_PKG_VERSION")));

/// Completes the metadata that a caller gave with what is known of the call being served and of the
/// current span. What the caller stated stays.
pub(super) fn complete(headers: &mut HeaderMap) {
    headers.entry(header::CONTENT_TYPE).or_insert(GRPC);
    headers.entry(header::TE).or_insert(TRAILERS);
    headers.insert(header::USER_AGENT, USER_AGENT);
    propagation::inject(headers);
    let Some(call) = call::current() else { return };
    if let Ok(mut id) = HeaderValue::from_str(&call.request_id)
        && !id.is_empty()
    {
        // Another one each time, as the timeout is: not worth a place in the tables of HTTP/2.
        id.set_sensitive(true);
        headers.entry(REQUEST_ID).or_insert(id);
    }
    // Who brings a token speaks for its user, not for that of the call being served.
    if headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    if let Some(user) = &call.user {
        put(headers, USER_ID, &user.id);
        put(headers, USER_PLAN, &user.plan);
        if let Some(session) = &user.session_id {
            put(headers, SESSION_ID, session);
        }
    }
}

/// States how long the caller still waits.
pub(super) fn set_timeout(headers: &mut HeaderMap, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    // At most eight digits: microseconds reach 99 s, milliseconds a day.
    let (amount, unit) = match u32::try_from(left.as_micros()) {
        Ok(micros @ ..100_000_000) => (u128::from(micros), "u"),
        _ => (left.as_millis().min(99_999_999), "m"),
    };
    let text = [itoa::Buffer::new().format(amount), unit].concat();
    if let Ok(mut value) = HeaderValue::try_from(text) {
        value.set_sensitive(true);
        headers.insert(GRPC_TIMEOUT, value);
    }
}

/// Reads `grpc-timeout`; `None` when it is absent or makes no sense.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_specification_says() {
        let cases = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("+1S", None),
            ("123456789S", None),
            ("1\u{e9}", None),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(text.as_bytes()).expect("bytes"));
            assert_eq!(timeout(&headers), expected, "{text}");
        }
    }

    #[test]
    fn a_deadline_travels_as_a_timeout() {
        for seconds in [1, 90, 200, 90_000] {
            let mut headers = HeaderMap::new();
            let left = Duration::from_secs(seconds);
            set_timeout(&mut headers, Instant::now() + left);
            let read = timeout(&headers).expect("was set");
            assert!(read <= left && left - read < Duration::from_secs(1), "{seconds}: {read:?}");
        }
    }
}
