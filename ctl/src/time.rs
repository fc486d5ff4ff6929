//! Times as they are typed: `90s`, `2h`, `3days` ago, or `2026-11-21T10:00:00Z`.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use humantime_serde::re::humantime;
use prost_types::Timestamp;

/// How long something lasts, such as `10m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write how long, such as 10m or 2h".into())
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(SystemTime);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ago) = humantime::parse_duration(text) {
            let time = SystemTime::now().checked_sub(ago);
            return time.map(Self).ok_or_else(|| format!("{text} ago is before all time"));
        }
        DateTime::parse_from_rfc3339(text)
            .map(|time| Self(time.with_timezone(&Utc).into()))
            .map_err(|_| {
                "write how long ago, such as 2h, or a time such as 2026-11-21T10:00:00Z".into()
            })
    }
}

impl Time {
    pub(crate) fn now() -> Self {
        Self(SystemTime::now())
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        time.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_how_long_ago_or_a_date() {
        let ago: Time = "2h".parse().expect("a duration");
        let elapsed = ago.0.elapsed().expect("in the past");
        assert!(elapsed >= Duration::from_secs(7200) && elapsed < Duration::from_secs(7260));
        let date: Time = "1970-01-01T00:00:05Z".parse().expect("a date");
        assert_eq!(Timestamp::from(date).seconds, 5);
        assert!("yesterday".parse::<Time>().is_err());
    }
}
