//! API keys: what programs prove by that they call in a user's name.

use chrono::{DateTime, SubsecRound as _, Utc};
use mainstay::contract::auth::API_KEY_PREFIX;
use zeroize::Zeroizing;

use super::refresh_token::random_text;
use super::{ApiKeyId, AuthError, TokenDigest, UserId};

/// How many of a key's random characters are kept in the clear. They are 36 of its 256 bits.
const SHOWN_CHARACTERS: usize = 6;

/// One API key, without what makes it work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The claim `sid` of the access tokens that it is exchanged for.
    pub id: ApiKeyId,
    /// Whose.
    pub user_id: UserId,
    /// What its owner calls it.
    pub display_name: String,
    /// How the key begins.
    pub prefix: String,
    /// When it was made.
    pub create_time: DateTime<Utc>,
    /// When it is over unless ended before.
    pub expire_time: DateTime<Utc>,
    /// When it was exchanged last.
    pub use_time: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// A key that is made now and ends when its owner says, or after `usual`; never later than after
    /// `most`. Times are kept to the microsecond, as the store keeps them.
    pub fn make(
        user_id: UserId,
        display_name: &str,
        secret: &ApiKeySecret,
        life: ApiKeyLife,
        now: DateTime<Utc>,
    ) -> Result<Self, AuthError> {
        let display_name = display_name.trim();
        if display_name.is_empty() {
            return Err(AuthError::field("display_name", "must not be empty"));
        }
        let expire_time = life.stated.unwrap_or(now + life.usual);
        if expire_time <= now {
            return Err(AuthError::field("expire_time", "must be later than now"));
        }
        if expire_time > now + life.most {
            return Err(AuthError::field("expire_time", "is later than the platform allows"));
        }
        Ok(Self {
            id: ApiKeyId::new(),
            user_id,
            display_name: display_name.to_owned(),
            prefix: secret.prefix().to_owned(),
            create_time: now.trunc_subsecs(6),
            expire_time: expire_time.trunc_subsecs(6),
            use_time: None,
        })
    }
}

/// How long a key lasts.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeyLife {
    /// Until when, if its owner says.
    pub stated: Option<DateTime<Utc>>,
    /// How long otherwise.
    pub usual: std::time::Duration,
    /// The longest that any may last.
    pub most: std::time::Duration,
}

/// What makes an API key work: 256 random bits behind a prefix. Wiped when dropped, never shown.
pub struct ApiKeySecret(Zeroizing<String>);

impl ApiKeySecret {
    /// A new one.
    pub fn random() -> Self {
        Self(random_text(API_KEY_PREFIX))
    }

    /// One as a caller sends it.
    pub fn given(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The key as its owner keeps it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the store keeps of it.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }

    fn prefix(&self) -> &str {
        self.0.get(..API_KEY_PREFIX.len() + SHOWN_CHARACTERS).unwrap_or_default()
    }
}

impl std::fmt::Debug for ApiKeySecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ApiKeySecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn make(name: &str, stated: Option<DateTime<Utc>>) -> Result<ApiKey, AuthError> {
        let life = ApiKeyLife { stated, usual: 90 * DAY, most: 365 * DAY };
        ApiKey::make(UserId::new(), name, &ApiKeySecret::random(), life, Utc::now())
    }

    #[test]
    fn keys_differ_and_show_little_of_themselves() {
        let (one, other) = (ApiKeySecret::random(), ApiKeySecret::random());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), 52);
        assert_eq!(ApiKeySecret::given(one.expose().to_owned()).digest(), one.digest());
        assert!(one.expose().starts_with(one.prefix()) && one.prefix().len() == 15);
        assert!(!format!("{one:?}").contains(one.prefix()));
    }

    #[test]
    fn a_key_ends_when_its_owner_says_and_never_later_than_allowed() {
        let key = make(" deploy ", None).expect("a usual one");
        assert_eq!(key.display_name, "deploy");
        assert_eq!(key.expire_time - key.create_time, chrono::Duration::days(90));
        let soon = Utc::now() + DAY;
        assert!(make("deploy", Some(soon)).expect("sooner").expire_time <= soon);
        for (name, stated, field) in [
            (" ", None, "display_name"),
            ("deploy", Some(Utc::now() - DAY), "expire_time"),
            ("deploy", Some(Utc::now() + 366 * DAY), "expire_time"),
        ] {
            match make(name, stated) {
                Err(AuthError::Field { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{name:?} {stated:?}: {other:?}"),
            }
        }
    }
}
