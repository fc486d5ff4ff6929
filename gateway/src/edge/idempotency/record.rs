//! What is kept under a key.
//!
//! Replies can hold secrets, such as the tokens of a login. They are sealed by a key that is derived
//! from the Idempotency-Key and the request, neither of which is kept: only who sends the same request
//! again can read its reply.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, response};
use mainstay::kernel::error::Error;
use prost::Message as _;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};
use tonic_types::pb;

/// What is kept of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// What the request was.
    pub(super) fingerprint: String,
    /// What came of it.
    pub(super) state: State,
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// It is being served, until this time at most in milliseconds since 1970. The number is no other
    /// claim's.
    InFlight {
        until: u64,
        #[serde(default)]
        number: u64,
    },
    /// It was answered.
    Done { sealed: String },
    /// It was answered; the reply is too large.
    NotKept,
    /// It was sent and nobody knows.
    Unknown,
}

/// What a request was answered, as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) head: Head,
    /// The body of a reply; of a refusal the `google.rpc.Status`.
    pub(super) body: Bytes,
}

/// What is kept beside a body.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Head {
    /// A reply in the words of the caller's protocol.
    Reply { status: u16, headers: Pairs, trailers: Option<Pairs> },
    /// What the service refused, in no protocol's words: each writes it as it does for everybody.
    Refusal { request_id: String, headers: Pairs },
}

/// Headers or trailers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pairs(Vec<(String, String)>);

impl From<&HeaderMap> for Pairs {
    fn from(headers: &HeaderMap) -> Self {
        let readable = headers.iter().filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        });
        Self(readable.collect())
    }
}

impl Pairs {
    pub(super) fn to_headers(&self) -> Option<HeaderMap> {
        let pairs = self.0.iter().map(|(name, value)| {
            let name = HeaderName::try_from(name).ok()?;
            Some((name, HeaderValue::try_from(value).ok()?))
        });
        let mut headers = HeaderMap::new();
        for pair in pairs {
            let (name, value) = pair?;
            headers.append(name, value);
        }
        Some(headers)
    }
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        // A record is strings and numbers, which JSON takes.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `None` for what is no record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Kept {
    /// What a caller is answered.
    pub(super) fn reply(head: &response::Parts, body: Bytes, trailers: Option<&HeaderMap>) -> Self {
        let head = Head::Reply {
            status: head.status.as_u16(),
            headers: Pairs::from(&head.headers),
            trailers: trailers.map(Pairs::from),
        };
        Self { head, body }
    }

    /// How a request is refused.
    pub(super) fn refusal(error: &Error, request_id: &str) -> Self {
        let (request_id, headers) = (request_id.to_owned(), Pairs::from(error.headers()));
        let head = Head::Refusal { request_id, headers };
        Self { head, body: Bytes::copy_from_slice(error.to_status().details()) }
    }

    /// The error of a refusal.
    pub(super) fn error(&self) -> Option<Error> {
        let Head::Refusal { headers, .. } = &self.head else { return None };
        let status = pb::Status::decode(&*self.body).ok()?;
        let (code, details) = (Code::from_i32(status.code), self.body.clone());
        let error = Error::from_status(&Status::with_details(code, status.message, details));
        Some(error.with_headers(&headers.to_headers()?))
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let head = serde_json::to_vec(&self.head).ok()?;
        let length = u32::try_from(head.len()).ok()?;
        Some([&length.to_be_bytes()[..], &head, &self.body].concat())
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (head, body) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let head = serde_json::from_slice(head).ok()?;
        Some(Self { head, body: Bytes::copy_from_slice(body) })
    }
}

/// Seals and opens the replies to one request.
pub(super) struct Sealer(Option<LessSafeKey>);

impl Sealer {
    /// By a secret of 32 bytes.
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(UnboundKey::new(&CHACHA20_POLY1305, secret).ok().map(LessSafeKey::new))
    }

    pub(super) fn seal(&self, kept: &Kept) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut content = kept.encode()?;
        let key = self.0.as_ref()?;
        let at = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(at, Aad::empty(), &mut content).ok()?;
        Some(STANDARD_NO_PAD.encode([&nonce[..], &content].concat()))
    }

    pub(super) fn open(&self, sealed: &str) -> Option<Kept> {
        let sealed = STANDARD_NO_PAD.decode(sealed).ok()?;
        let (nonce, content) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (key, mut content) = (self.0.as_ref()?, content.to_vec());
        let at = Nonce::assume_unique_for_key(*nonce);
        Kept::decode(key.open_in_place(at, Aad::empty(), &mut content).ok()?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use http::header::ETAG;

    use super::*;

    #[test]
    fn a_reply_is_read_by_who_sends_the_same_request_and_by_nobody_else() {
        let headers = [("etag", "\"v1\""), ("x-cost", "1"), ("x-cost", "2")];
        let pairs = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap<HeaderValue> = pairs.into_iter().collect();
        let head = Head::Reply { status: 201, headers: (&headers).into(), trailers: None };
        let kept = Kept { head, body: Bytes::from_static(b"a token") };
        let sealer = Sealer::new(&[1; 32]);
        let sealed = sealer.seal(&kept).unwrap();
        let opened = sealer.open(&sealed).unwrap();
        assert_eq!(opened, kept);
        assert!(matches!(opened.head, Head::Reply { headers: pairs, .. }
            if pairs.to_headers().as_ref() == Some(&headers)));
        assert_ne!(sealer.seal(&kept).unwrap(), sealed, "no nonce is used twice");
        assert_eq!(Sealer::new(&[2; 32]).open(&sealed), None);
        for damaged in ["", "AAAA", &sealed[..sealed.len() - 4], &format!("{sealed}AAAA")] {
            assert_eq!(sealer.open(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let states = [
            State::InFlight { until: 7, number: 8 },
            State::Done { sealed: "x".into() },
            State::NotKept,
            State::Unknown,
        ];
        for state in states {
            let record = Record { fingerprint: "f".into(), state };
            assert_eq!(Record::decode(&record.encode()).unwrap().state, record.state);
        }
        let error = Error::invalid("how", "is not how it is done").detail("until", "tomorrow");
        let error = error.with_headers(&HeaderMap::from_iter([(ETAG, "\"v1\"".parse().unwrap())]));
        let kept = Kept::refusal(&error, "r1");
        let again = Kept::decode(&kept.encode().unwrap()).unwrap().error().unwrap();
        assert_eq!((again.message(), again.code()), (error.message(), error.code()));
        assert_eq!((again.violations(), again.details()), (error.violations(), error.details()));
        assert_eq!(again.headers(), error.headers());
        assert!(Record::decode(b"").is_none() && Record::decode(b"{\"state\":1}").is_none());
    }
}
