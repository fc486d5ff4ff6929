//! What an access token says.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Claims of an access token (RFC 9068 section 2.2, with the roles and the plan of the platform).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessClaims {
    /// Who issued it.
    pub iss: String,
    /// Id of the user.
    pub sub: String,
    /// For whom it is meant.
    pub aud: String,
    /// When it expires, seconds since 1970.
    pub exp: i64,
    /// From when it holds, seconds since 1970.
    pub nbf: i64,
    /// When it was issued, seconds since 1970.
    pub iat: i64,
    /// Id of the token.
    pub jti: String,
    /// Id of the session.
    pub sid: String,
    /// Names of the roles that hold everywhere.
    pub roles: Vec<String>,
    /// Name of the plan.
    pub plan: String,
}

impl AccessClaims {
    /// Seconds from issue to expiry.
    pub fn lifetime_seconds(&self) -> i64 {
        self.exp - self.iat
    }

    /// The second in which a time lies.
    pub fn seconds(time: DateTime<Utc>) -> i64 {
        time.timestamp()
    }
}
