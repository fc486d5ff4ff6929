//! The nouns of auth: accounts, passwords, sessions, API keys, tokens and the keys that sign them, with
//! their invariants, and the ports the use cases need. Knows no framework.

pub mod access_token;
pub mod account;
pub mod api_key;
pub mod error;
pub mod event;
pub mod password;
pub mod port;
pub mod refresh_token;
pub mod registration;
pub mod session;
pub mod signing_key;
pub mod throttle;

pub use access_token::AccessClaims;
pub use account::{ADMIN_ROLE, Account, FREE_PLAN, Grants, MEMBER_ROLE, Plan};
pub use api_key::{ApiKey, ApiKeyLife, ApiKeySecret};
pub use error::AuthError;
pub use event::{AuthEvent, EndReason};
pub use mainstay::contract::auth::{ApiKeyId, SessionId, UserId};
pub use mainstay::contract::email::Email;
pub use password::{Password, PasswordHash, PasswordParameters};
pub use port::{
    AccountStore, ApiKeyStore, KeyStore, Making, RoleDirectory, Rotation, SessionStore,
    UserDirectory,
};
pub use refresh_token::{RefreshToken, TokenDigest};
pub use registration::{REGISTRATION, Registration};
pub use session::{Session, SessionLife};
pub use signing_key::{KeyRing, KeySchedule, SigningKey};
pub use throttle::LoginThrottle;
