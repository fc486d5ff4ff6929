//! Whose key it is, and what the request is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use mainstay::kernel::error::{Error, Result};
use ring::{digest, hmac};

use super::record::{Kept, Record, Sealer, State};
use super::{IDEMPOTENCY_KEY, takes_key};
use crate::edge::exchange::Exchange;

/// The longest key.
const LONGEST: usize = 255;

/// A request with a key. The key itself is kept nowhere: whoever reads the store can neither send the
/// request again nor read the reply.
pub(crate) struct Keyed {
    /// Where the claim lies: a digest of principal, method and key.
    pub(super) place: String,
    /// What the request is, to be compared.
    pub(super) fingerprint: String,
    sealer: Sealer,
}

impl Keyed {
    /// The key of a request whose method takes one, if it has one. `content` is what tells it from other
    /// requests to the same path: the body, or of gRPC and Connect the message.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the header is no key.
    pub(crate) fn of(exchange: &Exchange, content: &[u8]) -> Result<Option<Self>> {
        if exchange.edge.claims.is_none() || !takes_key(&exchange.rpc.policy) {
            return Ok(None);
        }
        let Some(key) = key(&exchange.head.headers)? else { return Ok(None) };
        let principal = exchange.call.user.as_ref().map_or("", |user| user.id.as_str());
        let method = exchange.rpc.grpc_path.path();
        let place = digest(&[principal.as_bytes(), method.as_bytes(), key.as_bytes()]);
        let request = request(exchange, content);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let derived = |purpose: &str| {
            let mut context = hmac::Context::with_key(&secret);
            context.update(purpose.as_bytes());
            context.update(request.as_ref());
            context.sign()
        };
        Ok(Some(Self {
            place: URL_SAFE_NO_PAD.encode(place.as_ref()),
            fingerprint: URL_SAFE_NO_PAD.encode(derived("fingerprint").as_ref()),
            sealer: Sealer::new(derived("seal").as_ref()),
        }))
    }

    /// A record of this request, encoded.
    pub(super) fn record(&self, state: State) -> Vec<u8> {
        Record { fingerprint: self.fingerprint.clone(), state }.encode()
    }

    /// The state of a request that was answered so.
    pub(super) fn settled(&self, kept: &Kept, most_bytes: usize) -> State {
        if kept.body.len() > most_bytes {
            return State::NotKept;
        }
        self.sealer.seal(kept).map_or(State::Unknown, |sealed| State::Done { sealed })
    }

    /// The reply that was kept.
    pub(super) fn open(&self, sealed: &str) -> Option<Kept> {
        self.sealer.open(sealed)
    }
}

/// What a request says that its method can read, and in which protocol: the path and the media type tell
/// that.
fn request(exchange: &Exchange, content: &[u8]) -> digest::Digest {
    let head = &exchange.head;
    let mut parts = vec![
        head.method.as_str().as_bytes(),
        head.uri.path().as_bytes(),
        head.uri.query().unwrap_or_default().as_bytes(),
    ];
    let declared = exchange.rpc.policy.request_headers.iter();
    for name in declared.chain([&http::header::CONTENT_TYPE]) {
        parts.push(name.as_str().as_bytes());
        parts.extend(head.headers.get_all(name).iter().map(http::HeaderValue::as_bytes));
    }
    parts.push(content);
    digest(&parts)
}

/// A digest of several parts; none can pass for the beginning or end of another.
fn digest(parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish()
}

/// The one key: a string of RFC 9651, section 3.3.3, or the same without its quotes, as many send it.
fn key(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let key = text.and_then(|text| match text.trim().strip_prefix('"') {
        Some(quoted) => unquoted(quoted),
        None => Some(text.trim().to_owned()).filter(|text| !text.contains(['"', '\\', ','])),
    });
    match key.filter(|key| (1..=LONGEST).contains(&key.len())) {
        Some(key) => Ok(Some(key)),
        None => {
            let description = format!("is to be one string of 1 to {LONGEST} characters");
            Err(Error::invalid(IDEMPOTENCY_KEY.as_str(), description))
        }
    }
}

/// What stands before the closing quote, if nothing stands behind it.
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::with_capacity(text.len());
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(key),
            '\\' => key.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => key.push(other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_one_string_with_or_without_quotes() {
        let (long, longer) = ("k".repeat(255), "k".repeat(256));
        let rows = [
            (&["8e03978e"][..], Some("8e03978e")),
            (&["\"8e03978e\""], Some("8e03978e")),
            (&[" \"a b\" "], Some("a b")),
            (&[r#""a\"b\\c""#], Some(r#"a"b\c"#)),
            (&[&long], Some(&long)),
            (&[&longer], None),
            (&[""], None),
            (&["\"\""], None),
            (&["\"a"], None),
            (&["\"a\";b=1"], None),
            (&[r#""a\b""#], None),
            (&["a, b"], None),
            (&["a", "a"], None),
        ];
        for (lines, expected) in rows {
            let lines = lines.iter().map(|line| HeaderValue::from_str(line).unwrap());
            let headers: HeaderMap = lines.map(|line| (IDEMPOTENCY_KEY, line)).collect();
            let found = key(&headers).map(|key| key.unwrap());
            assert_eq!(found.as_deref().ok(), expected, "{headers:?}");
        }
        assert_eq!(key(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]).as_ref(), digest(&[b"a", b"bc"]).as_ref());
        assert_ne!(digest(&[b"a", b""]).as_ref(), digest(&[b"a"]).as_ref());
    }
}
