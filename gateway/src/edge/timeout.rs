//! How long a caller waits, in whichever words its protocol has for that.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use mainstay::kernel::channel;
use mainstay::kernel::error::{Error, Result};

use super::front::Protocol;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const CONNECT_TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// The most digits of a timeout of Connect.
const MOST_DIGITS: usize = 10;

/// How long the caller waits, counted from the request's arrival; `None` if it does not say.
/// `INVALID_ARGUMENT` names the header that cannot be read.
pub(super) fn stated(protocol: Protocol, headers: &HeaderMap) -> Result<Option<Duration>> {
    let read = |name: HeaderName, read: fn(&HeaderMap, &HeaderName) -> Option<Duration>| {
        if !headers.contains_key(&name) {
            return Ok(None);
        }
        match read(headers, &name) {
            Some(timeout) => Ok(Some(timeout)),
            None => Err(Error::invalid(name.as_str(), "is no timeout that could be read")),
        }
    };
    let grpc = || read(GRPC_TIMEOUT, |headers, _| channel::timeout(headers));
    match protocol {
        Protocol::Grpc { .. } => grpc(),
        Protocol::Connect(_) => read(CONNECT_TIMEOUT, milliseconds),
        Protocol::Rest => {
            let own = read(REQUEST_TIMEOUT, seconds)?;
            Ok([own, grpc()?].into_iter().flatten().min())
        }
    }
}

fn milliseconds(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let digits = headers.get(name)?.to_str().ok()?;
    let sound = digits.len() <= MOST_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| sound).map(Duration::from_millis)
}

/// `1.5`, `1.5s` or `500ms`; a number alone is of seconds.
fn seconds(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    let (number, scale) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let amount: f64 = number.parse().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(amount * scale).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::front::{Codec, Connect};
    use super::*;

    #[test]
    fn each_protocol_has_its_own_words() {
        let connect = Protocol::Connect(Connect { codec: Codec::Proto, streaming: false });
        let grpc = Protocol::Grpc { web: false };
        let rows = [
            (Protocol::Rest, "x-request-timeout", "2", Some(2000)),
            (Protocol::Rest, "x-request-timeout", "1.5s", Some(1500)),
            (Protocol::Rest, "x-request-timeout", "500ms", Some(500)),
            (Protocol::Rest, "x-request-timeout", "0", Some(0)),
            (Protocol::Rest, "grpc-timeout", "3S", Some(3000)),
            (Protocol::Rest, "x-request-timeout", "soon", None),
            (Protocol::Rest, "x-request-timeout", "-1", None),
            (Protocol::Rest, "x-request-timeout", "1e3", None),
            (Protocol::Rest, "x-request-timeout", "inf", None),
            (Protocol::Rest, "x-request-timeout", "", None),
            (grpc, "grpc-timeout", "250m", Some(250)),
            (grpc, "grpc-timeout", "250", None),
            (connect, "connect-timeout-ms", "250", Some(250)),
            (connect, "connect-timeout-ms", "+250", None),
            (connect, "connect-timeout-ms", "12345678901", None),
        ];
        for (protocol, name, value, expected) in rows {
            let name = HeaderName::from_static(name);
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            let read = stated(protocol, &headers);
            match expected {
                Some(millis) => {
                    let expected = Some(Duration::from_millis(millis));
                    assert_eq!(read.ok().flatten(), expected, "{value}");
                }
                None => assert!(read.is_err(), "{value}"),
            }
        }
        assert!(matches!(stated(grpc, &HeaderMap::new()), Ok(None)));
    }
}
