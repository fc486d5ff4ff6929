//! Messages of the contract become types that cannot be wrong.

use chrono::{DateTime, Utc};
use mainstay::contract::auth::{ApiKeyId, SessionId, UserId};
use mainstay::kernel::call;
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::page::PageToken;
use prost_types::Timestamp;

/// Who calls, in which session.
pub struct Caller {
    /// The user.
    pub user_id: UserId,
    /// The session of the access token, when known.
    pub session_id: Option<SessionId>,
}

/// The user who calls.
pub fn caller() -> Result<Caller> {
    let user = call::current_user()?;
    Ok(Caller {
        user_id: UserId::parse(&user.id)?,
        session_id: user.session_id.as_deref().map(SessionId::parse).transpose()?,
    })
}

/// A time.
pub fn time(field: &str, time: Timestamp) -> Result<DateTime<Utc>> {
    u32::try_from(time.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos))
        .ok_or_else(|| Error::invalid(field, "is not a time"))
}

/// The position among sessions that a page token names.
pub fn session_position(token: &PageToken) -> Result<(DateTime<Utc>, SessionId)> {
    position(token, SessionId::parse)
}

/// The position among API keys that a page token names.
pub fn api_key_position(token: &PageToken) -> Result<(DateTime<Utc>, ApiKeyId)> {
    position(token, ApiKeyId::parse)
}

fn position<T>(
    token: &PageToken,
    parse: impl FnOnce(&str) -> Result<T>,
) -> Result<(DateTime<Utc>, T)> {
    let [time, id] = token.columns()?;
    let time = time.parse().ok().and_then(DateTime::from_timestamp_micros);
    let id = parse(id).map_err(|_| PageToken::refused())?;
    Ok((time.ok_or_else(PageToken::refused)?, id))
}
