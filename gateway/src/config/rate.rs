//! A rate as settings write it: `600/1m`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{DEFAULT_CLASS, DEFAULT_PLAN};

/// So many in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; at least 1.
    pub count: u32,
    /// In what time: whole seconds, at least one.
    pub per: Duration,
}

impl Rate {
    /// So many each minute.
    pub const fn per_minute(count: u32) -> Self {
        Self { count, per: Duration::from_secs(60) }
    }

    /// So many each hour.
    pub const fn per_hour(count: u32) -> Self {
        Self { count, per: Duration::from_secs(60 * 60) }
    }
}

/// Rates by class and plan.
pub type RateTable = BTreeMap<String, BTreeMap<String, Rate>>;

/// Reads a table on top of the default one.
pub(super) fn overlay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RateTable, D::Error> {
    let mut table = defaults();
    for (class, plans) in RateTable::deserialize(deserializer)? {
        table.entry(class).or_default().extend(plans);
    }
    Ok(table)
}

/// The default table. `auth` is low because each try costs the platform a password hash and an
/// attacker a guess; it counts by address, since nobody is logged in yet. `search` and `ai` are low
/// for those who pay nothing, because each call costs many reads, or a model's time.
pub(super) fn defaults() -> RateTable {
    let minute = [
        (DEFAULT_CLASS, [300, 1200, 2400]),
        ("read", [600, 3000, 6000]),
        ("write", [120, 600, 1200]),
        ("search", [20, 200, 200]),
        ("auth", [60, 60, 60]),
        ("refresh", [120, 120, 120]),
        ("webhook", [600, 600, 600]),
    ];
    let minute = minute.map(|(class, counts)| (class, counts.map(Rate::per_minute)));
    let hour = [("ai", [5, 50, 200].map(Rate::per_hour))];
    let plans = [DEFAULT_PLAN, "paid", "ai"];
    let rows = minute.into_iter().chain(hour).map(|(class, rates)| {
        let columns = plans.into_iter().zip(rates);
        (class.to_owned(), columns.map(|(plan, rate)| (plan.to_owned(), rate)).collect())
    });
    rows.collect()
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}s", self.count, self.per.as_secs())
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no rate: write count/period, such as 600/1m or 100/s");
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let per = match per.trim() {
            unit if unit.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                format!("1{unit}")
            }
            period => period.to_owned(),
        };
        let per = humantime_serde::re::humantime::parse_duration(&per).map_err(|_| wrong())?;
        // Callers are told the seconds, and the gateways share buckets by them.
        if count == 0 || per < Duration::from_secs(1) || per.subsec_nanos() > 0 {
            return Err(format!("`{text}`: the count is at least 1, the period whole seconds"));
        }
        Ok(Self { count, per })
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_count_and_period() {
        assert_eq!("600/1m".parse(), Ok(Rate::per_minute(600)));
        assert_eq!("600/m".parse(), Ok(Rate::per_minute(600)));
        assert_eq!(Rate::per_minute(600).to_string().parse(), Ok(Rate::per_minute(600)));
        for text in ["", "600", "0/1m", "600/1ms", "x/1m", "600/forever", "10/1500ms", "10/1m1ns"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
