//! When a job is due by itself: one row for each, which all replicas share.
//!
//! The row names the next due time. Whoever moves it on, by a statement that is conditional on the
//! time seen, enqueues the run in the same transaction: each due time is enqueued once, however many
//! replicas look. The next time is reckoned from now, so times missed in an outage make one run.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use croner::Cron;
use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};

use super::definition::Job;
use super::enqueue;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::{micros, now_micros};

/// The key of a scheduled run: while one waits or runs, no second is enqueued.
const KEY: &str = "schedule";

/// When a job is due by itself.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// As it was stated; a change of it begins anew.
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron(Box<Cron>),
    Every(Duration),
}

impl Schedule {
    /// By a cron pattern, in UTC.
    pub fn cron(pattern: &str) -> anyhow::Result<Self> {
        let cron = Cron::from_str(pattern).with_context(|| {
            format!("`{pattern}` is no cron pattern: write five fields, such as `17 * * * *`")
        })?;
        Ok(Self { text: format!("cron {pattern}"), rule: Rule::Cron(Box::new(cron)) })
    }

    /// By an interval.
    pub fn every(interval: Duration) -> anyhow::Result<Self> {
        ensure!(!interval.is_zero(), "an interval must be longer than 0 s");
        Ok(Self { text: format!("every {interval:?}"), rule: Rule::Every(interval) })
    }

    /// The first due time of a schedule that begins now.
    fn first(&self, now: i64) -> Result<i64> {
        match self.rule {
            Rule::Cron(_) => self.next(now, now),
            Rule::Every(_) => Ok(now),
        }
    }

    /// The due time after `due`, in the future of `now`.
    fn next(&self, due: i64, now: i64) -> Result<i64> {
        match &self.rule {
            Rule::Cron(cron) => {
                let now = DateTime::<Utc>::from_timestamp_micros(now).unwrap_or_default();
                let next = cron.find_next_occurrence(&now, false).map_err(Error::internal)?;
                Ok(next.timestamp_micros())
            }
            Rule::Every(interval) => {
                let next = due.saturating_add(micros(*interval));
                Ok(if next > now { next } else { now.saturating_add(micros(*interval)) })
            }
        }
    }
}

/// Makes the table say what the jobs say. Schedules of jobs that this version does not know stay, for
/// another version may run beside it.
pub(super) async fn declare<'a>(
    database: &Database,
    jobs: impl Iterator<Item = &'a Job>,
) -> Result<()> {
    for job in jobs {
        let Some(schedule) = job.schedule() else { continue };
        let first = schedule.first(now_micros())?;
        let changed = Expr::col(("job_schedule", "spec")).ne(schedule.text.as_str());
        let statement = Query::insert()
            .into_table("job_schedule")
            .columns(["name", "spec", "next_at"])
            .values([job.name().into(), schedule.text.as_str().into(), first.into()])
            .map_err(Error::internal)?
            .on_conflict(
                OnConflict::column("name")
                    .update_columns(["spec", "next_at"])
                    .action_and_where(changed)
                    .to_owned(),
            )
            .take();
        let open = database.begin_own().await?;
        open.connection().execute(&statement).await?;
        open.commit().await?;
    }
    Ok(())
}

/// Enqueues the runs that are due.
pub(super) async fn enqueue_due(
    database: &Database,
    find: impl Fn(&str) -> Option<Job>,
) -> Result<()> {
    let now = now_micros();
    let due = Query::select()
        .columns(["name", "next_at"])
        .from("job_schedule")
        .and_where(Expr::col("next_at").lte(now))
        .take();
    for row in database.connection().query_all(&due).await? {
        let (name, seen): (String, i64) = (row.try_get("", "name")?, row.try_get("", "next_at")?);
        let Some(job) = find(&name) else { continue };
        let Some(schedule) = job.schedule() else { continue };
        enqueue_run(database, &name, seen, schedule.next(seen, now)?).await?;
    }
    Ok(())
}

async fn enqueue_run(database: &Database, name: &str, seen: i64, next: i64) -> Result<()> {
    let moved = Query::update()
        .table("job_schedule")
        .value("next_at", next)
        .and_where(Expr::col("name").eq(name))
        .and_where(Expr::col("next_at").eq(seen))
        .take();
    let open = database.begin_own().await?;
    if open.connection().execute(&moved).await?.rows_affected() == 1 {
        enqueue::append_scheduled(&open, name, KEY).await?;
    }
    open.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros_at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros()
    }

    #[test]
    fn cron_is_read_in_utc_and_missed_times_make_one_run() {
        let schedule = Schedule::cron("30 3 * * *").expect("a pattern");
        let now = micros_at("2026-11-21T03:29:59Z");
        assert_eq!(schedule.first(now).expect("a time"), micros_at("2026-11-21T03:30:00Z"));
        let weeks_late = micros_at("2026-12-10T12:00:00Z");
        let next = schedule.next(micros_at("2026-11-21T03:30:00Z"), weeks_late).expect("a time");
        assert_eq!(next, micros_at("2026-12-11T03:30:00Z"));
    }

    #[test]
    fn an_interval_keeps_its_beat_until_it_is_late() {
        let schedule = Schedule::every(Duration::from_secs(60)).expect("an interval");
        let due = micros_at("2026-11-21T03:00:00Z");
        let next = |now: &str| schedule.next(due, micros_at(now)).expect("a time");
        assert_eq!(next("2026-11-21T03:00:05Z"), micros_at("2026-11-21T03:01:00Z"));
        assert_eq!(next("2026-11-21T09:00:00Z"), micros_at("2026-11-21T09:01:00Z"));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        assert!(Schedule::every(Duration::ZERO).is_err());
        for pattern in ["", "x", "61 * * * *", "* * *"] {
            assert!(Schedule::cron(pattern).is_err(), "{pattern}");
        }
    }
}
