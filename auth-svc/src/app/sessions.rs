//! Listing, revoking and forgetting sessions.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::App;
use crate::config::CLOCK_LEEWAY;
use crate::domain::{AuthError, EndReason, Session, SessionId, UserId};

/// An end is stamped before its transaction commits, and replicas' clocks differ. Whoever asks for
/// what is new is therefore told again what ended shortly before.
const REVOCATION_MARGIN: Duration = Duration::from_secs(15);

/// A page of sessions.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// The sessions, newest first.
    pub sessions: Vec<Session>,
    /// Position of the last one, when there are more.
    pub next: Option<(DateTime<Utc>, SessionId)>,
}

/// Sessions and API keys that ended lately.
#[derive(Clone, Debug)]
pub struct Revocations {
    /// Which.
    pub session_ids: Vec<String>,
    /// From when to ask next.
    pub as_of: DateTime<Utc>,
}

impl App {
    /// The live sessions of a user, newest first.
    pub async fn session_list(
        &self,
        user_id: UserId,
        after: Option<(DateTime<Utc>, SessionId)>,
        limit: u32,
    ) -> Result<SessionPage, AuthError> {
        // One more than asked for tells whether there is a next page.
        let (more, now) = (u64::from(limit) + 1, Utc::now());
        let mut sessions = self.sessions.session_list(user_id, after, more, now).await?;
        let has_more = sessions.len() > limit as usize;
        sessions.truncate(limit as usize);
        let last = sessions.last().filter(|_| has_more);
        let next = last.map(|session| (session.create_time, session.id));
        Ok(SessionPage { sessions, next })
    }

    /// Ends a session of a user. One that is over already stays so; another user's does not exist.
    pub async fn session_revoke(
        &self,
        user_id: UserId,
        session_id: SessionId,
    ) -> Result<(), AuthError> {
        let reason = EndReason::Revoked;
        match self.sessions.session_end(user_id, session_id, reason, Utc::now()).await? {
            true => Ok(()),
            false => Err(AuthError::SessionNotFound(session_id)),
        }
    }

    /// The sessions and API keys ended since then whose access tokens may still be valid.
    pub async fn revocation_list(
        &self,
        since: Option<DateTime<Utc>>,
    ) -> Result<Revocations, AuthError> {
        let as_of = Utc::now();
        let matters = as_of - self.config.access_token_life - CLOCK_LEEWAY;
        let since = since.map_or(matters, |since| matters.max(since) - REVOCATION_MARGIN);
        let sessions = self.sessions.session_list_ended(since).await?;
        let keys = self.api_keys.api_key_list_ended(since).await?;
        let sessions = sessions.iter().map(ToString::to_string);
        let session_ids = sessions.chain(keys.iter().map(ToString::to_string)).collect();
        Ok(Revocations { session_ids, as_of })
    }

    /// Forgets sessions that have been over for long.
    pub async fn session_prune(&self) -> Result<(), AuthError> {
        let forgotten =
            self.sessions.session_prune(Utc::now() - self.config.session_retention).await?;
        if forgotten > 0 {
            tracing::info!(
                sessions = forgotten,
                "sessions that have been over for long were forgotten"
            );
        }
        Ok(())
    }
}
