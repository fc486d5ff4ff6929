//! Refresh tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// How long 32 bytes are in base64 without padding.
const RANDOM_CHARACTERS: usize = 43;

/// 256 random bits that can be exchanged once for new tokens. Wiped when dropped, never shown.
pub struct RefreshToken(Zeroizing<String>);

impl RefreshToken {
    /// A new token.
    pub fn random() -> Self {
        Self(random_text(""))
    }

    /// A token as a client sends it.
    pub fn given(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The token as the client keeps it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the store keeps of it.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RefreshToken([redacted])")
    }
}

/// 256 random bits in base64url behind a prefix.
pub(super) fn random_text(prefix: &str) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut bytes[..]);
    // As large as it gets, so that nothing of it is left behind where it was before it grew.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + RANDOM_CHARACTERS));
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(&bytes[..], &mut text);
    text
}

/// SHA-256 of a token: who reads the database has no token. A plain hash serves because the token is
/// random; it cannot be guessed however fast a guess is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a token.
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// The digest as it is stored.
    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_recognized_by_their_digest() {
        let (one, other) = (RefreshToken::random(), RefreshToken::random());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), 43);
        assert_eq!(RefreshToken::given(one.expose().to_owned()).digest(), one.digest());
        assert_ne!(one.digest(), other.digest());
        assert!(!format!("{one:?}").contains(one.expose()));
    }
}
