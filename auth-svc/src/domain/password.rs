//! Passwords and their hashes.
//!
//! A password is taken byte for byte as it was typed: no trimming, no folding, so that what a password
//! manager stored is what is compared.

use argon2::password_hash::phc;
use argon2::password_hash::{Error as HashError, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::AuthError;

/// A password in the clear: wiped from memory when dropped, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The fewest characters of a new password.
    pub const MIN_LENGTH: usize = 8;
    /// The most characters. Without a limit a long password would be a way to keep us busy.
    pub const MAX_LENGTH: usize = 128;

    /// A password to compare with; one that cannot be right simply does not fit.
    pub fn given(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// A new password, or an error that names `field`.
    pub fn chosen(field: &'static str, text: String) -> Result<Self, AuthError> {
        let password = Self::given(text);
        let length = password.0.chars().count();
        if length < Self::MIN_LENGTH {
            return Err(AuthError::field(field, "must have at least 8 characters"));
        }
        if length > Self::MAX_LENGTH {
            return Err(AuthError::field(field, "must have at most 128 characters"));
        }
        Ok(password)
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password([redacted])")
    }
}

/// A hash as a PHC string, which carries its own parameters and salt. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash as the store kept it.
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// The hash as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PasswordHash([redacted])")
    }
}

/// The cost of a hash: argon2id, version 0x13.
///
/// The default is the floor of the OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordParameters {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PasswordParameters {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

impl PasswordParameters {
    /// The parameters as argon2 takes them, or why it does not.
    pub fn checked(&self) -> anyhow::Result<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, None)
            .map_err(|error| anyhow::anyhow!("password hash parameters: {error}"))
    }

    /// Hashes a password with a new salt. Takes tens of milliseconds of a core.
    pub fn hash(&self, password: &Password) -> anyhow::Result<PasswordHash> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.checked()?);
        let hash: phc::PasswordHash =
            argon2.hash_password(password.0.as_bytes()).map_err(broken)?;
        Ok(PasswordHash(hash.to_string()))
    }

    /// Whether a hash was made at this cost; otherwise it should be made anew at the next login.
    pub fn made(&self, hash: &PasswordHash) -> bool {
        let made_with = phc::PasswordHash::new(&hash.0).ok().and_then(|hash| {
            (hash.algorithm.as_str() == Algorithm::Argon2id.as_str())
                .then(|| Params::try_from(&hash).ok())
                .flatten()
        });
        made_with.is_some_and(|made_with| {
            (made_with.m_cost(), made_with.t_cost(), made_with.p_cost())
                == (self.memory_kib, self.passes, self.lanes)
        })
    }
}

/// Whether the password is the one that was hashed. Takes as long as hashing does.
pub fn verify(password: &Password, hash: &PasswordHash) -> anyhow::Result<bool> {
    let hash = phc::PasswordHash::new(&hash.0).map_err(|error| anyhow::anyhow!("{error}"))?;
    // The parameters come from the hash.
    match Argon2::default().verify_password(password.0.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(error) => Err(broken(error)),
    }
}

fn broken(error: HashError) -> anyhow::Error {
    anyhow::anyhow!("hashing a password: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordParameters = PasswordParameters { memory_kib: 64, passes: 1, lanes: 1 };

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let hash = CHEAP.hash(&Password::given("correct horse".into())).expect("hashes");
        assert!(verify(&Password::given("correct horse".into()), &hash).expect("verifies"));
        assert!(!verify(&Password::given("Correct horse".into()), &hash).expect("verifies"));
    }

    #[test]
    fn a_hash_of_another_cost_is_recognized() {
        let hash = CHEAP.hash(&Password::given("correct horse".into())).expect("hashes");
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(CHEAP.made(&hash));
        assert!(!PasswordParameters::default().made(&hash));
    }

    #[test]
    fn a_new_password_counts_characters() {
        for (text, taken) in [("1234567", false), ("12345678", true), ("äöüäöüäö", true)] {
            assert_eq!(Password::chosen("password", text.into()).is_ok(), taken, "{text}");
        }
        assert!(Password::chosen("password", "ä".repeat(128)).is_ok());
        assert!(Password::chosen("password", "a".repeat(129)).is_err());
    }

    #[test]
    fn neither_password_nor_hash_is_shown() {
        let password = Password::given("correct horse".into());
        let hash = CHEAP.hash(&password).expect("hashes");
        assert!(!format!("{password:?}").contains("horse"));
        assert!(!format!("{hash:?}").contains("argon2"));
    }
}
