//! Sessions: what began with a login and lasts as long as it is refreshed.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};

use super::{AuthEvent, EndReason, SessionId, UserId};

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct SessionLife {
    /// From the login, however often it is refreshed.
    pub absolute: Duration,
    /// From the last refresh.
    pub idle: Duration,
}

/// One session: the family of the refresh tokens that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The claim `sid` of its access tokens.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// When it began.
    pub create_time: DateTime<Utc>,
    /// When its tokens were last refreshed.
    pub refresh_time: DateTime<Utc>,
    /// When it is over unless refreshed before.
    pub expire_time: DateTime<Utc>,
    /// When it was ended before that.
    pub end_time: Option<DateTime<Utc>>,
}

impl Session {
    /// A session that begins now. Times are kept to the microsecond, as the store keeps them.
    pub fn begin(user_id: UserId, life: SessionLife, now: DateTime<Utc>) -> Self {
        let now = now.trunc_subsecs(6);
        Self {
            id: SessionId::new(),
            user_id,
            create_time: now,
            refresh_time: now,
            expire_time: now + life.idle.min(life.absolute),
            end_time: None,
        }
    }

    /// Whether it is neither ended nor expired.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.end_time.is_none() && now < self.expire_time
    }

    /// Refreshes it: the idle life begins anew, the absolute life does not.
    pub fn refresh(&mut self, life: SessionLife, now: DateTime<Utc>) {
        let now = now.trunc_subsecs(6);
        self.refresh_time = now;
        self.expire_time = (now + life.idle).min(self.create_time + life.absolute);
    }

    /// The event that tells of its begin.
    pub fn started(&self) -> AuthEvent {
        AuthEvent::SessionStarted { user_id: self.user_id, session_id: self.id }
    }

    /// The event that tells of its end.
    pub fn ended(&self, reason: EndReason) -> AuthEvent {
        AuthEvent::SessionEnded { user_id: self.user_id, session_id: self.id, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const LIFE: SessionLife = SessionLife {
        absolute: Duration::from_secs(30 * 86_400),
        idle: Duration::from_secs(7 * 86_400),
    };

    #[test]
    fn an_idle_session_expires_and_a_refreshed_one_lives_on() {
        let start = Utc::now();
        let mut session = Session::begin(UserId::new(), LIFE, start);
        assert!(session.is_live(start + 6 * DAY));
        assert!(!session.is_live(start + 7 * DAY));
        session.refresh(LIFE, start + 6 * DAY);
        assert!(session.is_live(start + 12 * DAY));
    }

    #[test]
    fn no_refresh_outlives_the_absolute_life() {
        let start = Utc::now();
        let mut session = Session::begin(UserId::new(), LIFE, start);
        session.refresh(LIFE, start + 29 * DAY);
        assert!(session.is_live(start + 29 * DAY));
        assert!(!session.is_live(start + 30 * DAY));
    }
}
