//! Whom a record is about, without saying who that is: a keyed hash of the user's id.
//!
//! Whoever looks into the log can follow one user through it, and cannot tell which user it is without the
//! key. With one key for all processes of an installation the hash is the same in all of them.

use std::sync::OnceLock;

// A hash is made for every line of the access log; ring's is written for processors without
// instructions for it, too.
use ring::hmac::{self, HMAC_SHA256};

/// So many bytes of the hash are shown: enough that two users of one installation do not share them.
const SHOWN_BYTES: usize = 8;

/// That of this process.
static HASHER: OnceLock<Subjects> = OnceLock::new();

/// Hashes subjects with one key.
#[derive(Clone)]
pub(super) struct Subjects(hmac::Key);

impl Subjects {
    pub(super) fn new(key: &str) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, key.as_bytes()))
    }

    /// Makes this the one of the process.
    pub(super) fn install(self) {
        // Telemetry is installed once; a second one is refused before it comes here.
        let _ = HASHER.set(self);
    }

    fn hash(&self, subject: &str) -> String {
        hex::encode(&hmac::sign(&self.0, subject.as_bytes()).as_ref()[..SHOWN_BYTES])
    }
}

/// The hash of a user's id, 16 hexadecimal digits; `None` where no telemetry is installed, as in tests.
pub fn hashed(user_id: &str) -> Option<String> {
    HASHER.get().map(|subjects| subjects.hash(user_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_same_under_one_key_and_another_under_another() {
        let (one, again, other) =
            (Subjects::new("key"), Subjects::new("key"), Subjects::new("yek"));
        let user = "01900000-0000-7000-8000-000000000001";
        assert_eq!(one.hash(user), again.hash(user));
        assert_ne!(one.hash(user), other.hash(user));
        // As `printf %s ID | openssl dgst -sha256 -hmac key` begins, which is what operators type.
        assert_eq!(one.hash(user), "9ce55acb8ceed3f4");
    }
}
