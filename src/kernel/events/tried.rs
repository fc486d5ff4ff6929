//! What failed to be handled, and how often: kept in the consuming service's database, so that the
//! count outlives the process.
//!
//! An event that is handled at the first attempt leaves nothing here. One that fails has a row until
//! it is handled or becomes a dead letter. A handler that takes its whole process with it cannot
//! report a failure, so a consumer that finds that its group has not ended in order (see
//! [`session`]) writes down each attempt before it makes it: what then ends the process is known
//! afterwards.

mod schema;
pub(crate) mod session;

use std::collections::HashMap;
use std::sync::LazyLock;

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{ConnectionTrait, QueryResult};
use serde::{Deserialize, Serialize};

use super::{micros, now_micros};
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use crate::kernel::proto::events::{DeliveryAttempt, Envelope};
use crate::kernel::time::timestamp_of;
pub(crate) use schema::{ConsumerAttempts, CreateAttempts};

/// How many entries a history has at most.
const MAX_HISTORY: usize = 20;

/// The most bytes of an error that are kept.
const MAX_ERROR_BYTES: usize = 2000;

/// Code of an attempt that ended with its process.
const PROCESS_ENDED: &str = "PROCESS_ENDED";

/// Attempts at one event that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    /// How many count; those during an outage do not.
    pub(crate) counted: u32,
    /// The attempts, oldest first.
    pub(crate) history: Vec<Attempt>,
    /// When the attempt that is under way began, in Unix microseconds, and who makes it; only where
    /// that is written down beforehand.
    begun: Option<(i64, String)>,
}

/// An attempt that failed, or several in a row that failed alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Unix microseconds of the first.
    pub(crate) time: i64,
    /// Unix microseconds of the last.
    pub(crate) last: i64,
    pub(crate) count: u32,
    pub(crate) code: String,
    pub(crate) error: String,
    pub(crate) instance: String,
}

impl Tried {
    /// Adds a failed attempt of this process.
    pub(crate) fn note(&mut self, code: &str, error: &str, counts: bool) {
        self.begun = None;
        self.add(code, error, instance(), counts);
    }

    /// Adds the attempt that was begun and never ended: its process has.
    fn close_begun(&mut self) {
        let Some((_, instance)) = self.begun.take() else { return };
        let error = "the process ended while it handled the event";
        self.add(PROCESS_ENDED, error, &instance, true);
    }

    fn add(&mut self, code: &str, error: &str, instance: &str, counts: bool) {
        let now = now_micros();
        self.counted = self.counted.saturating_add(u32::from(counts));
        let error = cut(error);
        let alike = |last: &&mut Attempt| {
            last.code == code && last.error == error && last.instance == instance
        };
        if let Some(last) = self.history.last_mut().filter(alike) {
            last.count = last.count.saturating_add(1);
            last.last = now;
            return;
        }
        if self.history.len() == MAX_HISTORY {
            self.history.remove(0);
        }
        self.history.push(Attempt {
            time: now,
            last: now,
            count: 1,
            code: code.to_owned(),
            error: error.to_owned(),
            instance: instance.to_owned(),
        });
    }

    /// The history as contracts state it.
    pub(crate) fn to_proto(&self) -> Vec<DeliveryAttempt> {
        self.history.iter().map(Attempt::to_proto).collect()
    }

    fn read(row: &QueryResult) -> Result<Self> {
        let history: String = row.try_get("", "history")?;
        let begun_at: i64 = row.try_get("", "begun_at")?;
        let begun_by: String = row.try_get("", "begun_by")?;
        Ok(Self {
            counted: u32::try_from(row.try_get::<i64>("", "attempts")?).unwrap_or(u32::MAX),
            history: serde_json::from_str(&history).map_err(Error::internal)?,
            begun: (begun_at > 0).then_some((begun_at, begun_by)),
        })
    }
}

impl Attempt {
    pub(crate) fn to_proto(&self) -> DeliveryAttempt {
        DeliveryAttempt {
            time: timestamp_of(self.time),
            last_time: timestamp_of(self.last),
            count: self.count,
            code: self.code.clone(),
            error: self.error.clone(),
            instance: self.instance.clone(),
        }
    }
}

/// Every event of a consumer that failed and is not settled, by id. Attempts that ended with their
/// process are counted now.
pub(crate) async fn load_all(
    database: &Database,
    consumer: &str,
) -> Result<HashMap<String, Tried>> {
    let query = Query::select()
        .expr(Expr::cust("*"))
        .from(ConsumerAttempts::Table)
        .and_where(Expr::col(ConsumerAttempts::Consumer).eq(consumer))
        .take();
    let mut all = HashMap::new();
    for row in database.connection().query_all(&query).await? {
        let mut tried = Tried::read(&row)?;
        tried.close_begun();
        all.insert(row.try_get("", "event_id")?, tried);
    }
    Ok(all)
}

/// What is known of one event. An attempt that was begun is another process's and still counts as
/// under way.
pub(crate) async fn load(
    database: &Database,
    consumer: &str,
    event_id: &str,
) -> Result<Option<Tried>> {
    let query = Query::select()
        .expr(Expr::cust("*"))
        .from(ConsumerAttempts::Table)
        .and_where(Expr::col(ConsumerAttempts::Consumer).eq(consumer))
        .and_where(Expr::col(ConsumerAttempts::EventId).eq(event_id))
        .take();
    let row = database.connection().query_one(&query).await?;
    row.map(|row| Tried::read(&row)).transpose()
}

/// Writes down that an attempt begins.
pub(crate) async fn begin(
    database: &Database,
    consumer: &str,
    event: &Envelope,
    tried: &mut Tried,
) -> Result<()> {
    tried.begun = Some((now_micros(), instance().to_owned()));
    save(database, consumer, event, tried).await
}

/// Writes down what is known.
pub(crate) async fn save(
    database: &Database,
    consumer: &str,
    event: &Envelope,
    tried: &Tried,
) -> Result<()> {
    let history = serde_json::to_string(&tried.history).map_err(Error::internal)?;
    let (begun_at, begun_by) = tried.begun.clone().unwrap_or_default();
    let changing = [
        ConsumerAttempts::Attempts,
        ConsumerAttempts::History,
        ConsumerAttempts::BegunAt,
        ConsumerAttempts::BegunBy,
        ConsumerAttempts::UpdatedAt,
    ];
    let key = [ConsumerAttempts::Consumer, ConsumerAttempts::EventId];
    let statement = Query::insert()
        .into_table(ConsumerAttempts::Table)
        .columns([
            ConsumerAttempts::Consumer,
            ConsumerAttempts::EventId,
            ConsumerAttempts::Topic,
            ConsumerAttempts::Type,
            ConsumerAttempts::Subject,
            ConsumerAttempts::Attempts,
            ConsumerAttempts::History,
            ConsumerAttempts::BegunAt,
            ConsumerAttempts::BegunBy,
            ConsumerAttempts::UpdatedAt,
        ])
        .values([
            consumer.into(),
            event.id.as_str().into(),
            event.topic.as_str().into(),
            event.r#type.as_str().into(),
            event.subject.as_str().into(),
            i64::from(tried.counted).into(),
            history.into(),
            begun_at.into(),
            begun_by.into(),
            now_micros().into(),
        ])
        .map_err(Error::internal)?
        .on_conflict(OnConflict::columns(key).update_columns(changing).to_owned())
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&statement).await?;
    open.commit().await
}

/// Forgets an event that is settled.
pub(crate) async fn forget(database: &Database, consumer: &str, event_id: &str) -> Result<()> {
    let open = database.begin_own().await?;
    forget_in(open.connection(), consumer, event_id).await?;
    open.commit().await
}

/// As [`forget`], in a transaction that is under way.
pub(crate) async fn forget_in(
    connection: &impl ConnectionTrait,
    consumer: &str,
    event_id: &str,
) -> Result<()> {
    let statement = Query::delete()
        .from_table(ConsumerAttempts::Table)
        .and_where(Expr::col(ConsumerAttempts::Consumer).eq(consumer))
        .and_where(Expr::col(ConsumerAttempts::EventId).eq(event_id))
        .take();
    connection.execute(&statement).await?;
    Ok(())
}

/// How many events of a consumer failed and are not settled.
pub(crate) async fn count(database: &Database, consumer: &str) -> Result<i64> {
    let query = Query::select()
        .expr_as(Expr::col(ConsumerAttempts::EventId).count(), "retrying")
        .from(ConsumerAttempts::Table)
        .and_where(Expr::col(ConsumerAttempts::Consumer).eq(consumer))
        .take();
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "retrying")).transpose()?.unwrap_or_default())
}

/// Forgets what nobody has tried for longer than `retention`: another member of the group has
/// settled it.
pub(crate) async fn prune(database: &Database, retention: std::time::Duration) -> Result<()> {
    let oldest = now_micros().saturating_sub(micros(retention));
    let statement = Query::delete()
        .from_table(ConsumerAttempts::Table)
        .and_where(Expr::col(ConsumerAttempts::UpdatedAt).lt(oldest))
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&statement).await?;
    open.commit().await
}

/// This process, for people: host and process id.
pub(crate) fn instance() -> &'static str {
    static INSTANCE: LazyLock<String> = LazyLock::new(|| {
        let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
        let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
        let host = host.as_deref().map_or("localhost", str::trim);
        format!("{host}/{}", std::process::id())
    });
    &INSTANCE
}

fn cut(error: &str) -> &str {
    let mut end = error.len().min(MAX_ERROR_BYTES);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    &error[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_fail_alike_are_one_entry_and_the_history_is_bounded() {
        let mut tried = Tried::default();
        for _ in 0..3 {
            tried.note("UNAVAILABLE", "authz-svc is away", false);
        }
        tried.note("INTERNAL", "broken", true);
        let counts: Vec<_> = tried.history.iter().map(|attempt| attempt.count).collect();
        assert_eq!((counts.as_slice(), tried.counted), ([3, 1].as_slice(), 1));
        for number in 0..50 {
            tried.note("INTERNAL", &format!("broken {number}"), true);
        }
        assert_eq!((tried.history.len(), tried.counted), (MAX_HISTORY, 51));
        assert_eq!(tried.history.last().map(|last| last.error.as_str()), Some("broken 49"));
    }

    #[test]
    fn an_attempt_that_was_begun_and_not_ended_counts_as_the_end_of_its_process() {
        let mut tried = Tried { begun: Some((1, "host/7".into())), ..Tried::default() };
        tried.close_begun();
        tried.close_begun();
        assert_eq!((tried.counted, tried.history.len()), (1, 1));
        assert_eq!(tried.history[0].code, PROCESS_ENDED);
        assert_eq!(tried.history[0].instance, "host/7");
    }

    #[test]
    fn errors_are_cut_between_letters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"ä".repeat(MAX_ERROR_BYTES)).len(), MAX_ERROR_BYTES);
        assert_eq!(cut(&format!("x{}", "ä".repeat(MAX_ERROR_BYTES))).len(), MAX_ERROR_BYTES - 1);
    }
}
