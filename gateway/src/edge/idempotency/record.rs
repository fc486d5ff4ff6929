//! What is kept under a key.
//!
//! Replies can hold secrets, such as the tokens of a login. They are sealed by a key that is derived
//! from the Idempotency-Key and the request, neither of which is kept: only who sends the same request
//! again can read its reply.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::response;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

/// The headers of a reply that belong to what it says, and not to the moment.
const KEPT_HEADERS: [http::HeaderName; 3] = [CONTENT_TYPE, ETAG, LOCATION];

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
    /// It is being served, until this time at most in milliseconds since 1970.
    InFlight { until: u64 },
    /// It was answered.
    Done { sealed: String },
    /// It was answered; the reply is too large.
    NotKept,
    /// It was sent and nobody knows.
    Unknown,
}

/// A reply as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
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
    pub(super) fn of(head: &response::Parts, body: Bytes) -> Self {
        let headers = KEPT_HEADERS.iter().filter_map(|name| {
            let value = head.headers.get(name)?.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        });
        Self { status: head.status.as_u16(), headers: headers.collect(), body }
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let head = serde_json::to_vec(&(self.status, &self.headers)).ok()?;
        let length = u32::try_from(head.len()).ok()?;
        Some([&length.to_be_bytes()[..], &head, &self.body].concat())
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (head, body) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (status, headers) = serde_json::from_slice(head).ok()?;
        Some(Self { status, headers, body: Bytes::copy_from_slice(body) })
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
    use super::*;

    #[test]
    fn a_reply_is_read_by_who_sends_the_same_request_and_by_nobody_else() {
        let kept = Kept {
            status: 201,
            headers: vec![("etag".into(), "\"v1\"".into())],
            body: Bytes::from_static(b"a token"),
        };
        let sealer = Sealer::new(&[1; 32]);
        let sealed = sealer.seal(&kept).unwrap();
        assert_eq!(sealer.open(&sealed).unwrap(), kept);
        assert_ne!(sealer.seal(&kept).unwrap(), sealed, "no nonce is used twice");
        assert_eq!(Sealer::new(&[2; 32]).open(&sealed), None);
        for damaged in ["", "AAAA", &sealed[..sealed.len() - 4], &format!("{sealed}AAAA")] {
            assert_eq!(sealer.open(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let states = [
            State::InFlight { until: 7 },
            State::Done { sealed: "x".into() },
            State::NotKept,
            State::Unknown,
        ];
        for state in states {
            let record = Record { fingerprint: "f".into(), state };
            assert_eq!(Record::decode(&record.encode()).unwrap().state, record.state);
        }
        assert!(Record::decode(b"").is_none() && Record::decode(b"{\"state\":1}").is_none());
    }
}
