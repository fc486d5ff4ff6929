//! Dead letters: events that a consumer gave up, kept until an operator has decided about them.
//!
//! A letter is parked in the consuming service's own database, in the transaction that writes the
//! event's inbox row and puts the record for `<topic>.dead-letter` into the outbox. So nothing is
//! lost between database and broker, a repeated delivery finds the event settled, and letters are
//! there while the broker is away.
//!
//! | state | meaning | leads to |
//! |---|---|---|
//! | parked | waits for a decision | replaying, discarded |
//! | replaying | handed back to its consumer | replayed; parked again if it fails again |
//! | replayed | its effect is there | |
//! | discarded | an operator decided against it; the row says who and why | replaying |
//!
//! A replay hands the event to the one consumer group that gave it up, inside its own service and
//! not by way of the broker: the event's inbox row is taken away and a row of the queue that
//! [`redelivery`](super::redelivery) keeps is written, in one transaction. Other groups never see
//! it, however long ago they have forgotten that they handled it; and the inbox row that the
//! handling writes makes its effect happen once.

mod find;
mod schema;

use prost::{Message as _, Name as _};
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use uuid::Uuid;

use super::tried::{self, Tried};
use super::{inbox, now_micros, outbox, redelivery};
use crate::kernel::database::Database;
use crate::kernel::error::{Error, INVALID_ARGUMENT, Result};
use crate::kernel::policy::TopicSpec;
use crate::kernel::proto::events::{DeadLetter, Envelope};
use crate::kernel::settings::EventSettings;
use crate::kernel::time::timestamp_of;
pub(crate) use find::{Filter, Letter, blocks, count, find, get};
pub(crate) use schema::{CreateDeadLetters, DeadLetters};

/// What is added to a topic's name.
const SUFFIX: &str = ".dead-letter";

/// The topic of the dead letters of a topic.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}{SUFFIX}")
}

/// What that topic is to be like: letters are few, and wait for people.
pub(super) fn spec(topic: &TopicSpec, settings: &EventSettings) -> TopicSpec {
    TopicSpec {
        partitions: 1,
        retention: Some(settings.dead_letter_retention),
        ..TopicSpec::new(dead_letter_topic(&topic.name))
    }
}

/// What has become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Parked,
    Replaying,
    Replayed,
    Discarded,
}

impl State {
    /// As the column holds it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Replaying => "replaying",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }

    /// Reads the column; what nobody has written counts as parked.
    fn of(name: &str) -> Self {
        [Self::Replaying, Self::Replayed, Self::Discarded]
            .into_iter()
            .find(|state| state.name() == name)
            .unwrap_or(Self::Parked)
    }
}

/// Why an event is given up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    /// Error code such as `FAILED_PRECONDITION`.
    pub(crate) code: String,
    /// What went wrong, without personal data.
    pub(crate) reason: String,
    /// The attempts.
    pub(crate) tried: Tried,
}

impl Cause {
    /// A record that is no event of ours: no handler ever sees it.
    pub(crate) fn fault(fault: &str) -> Self {
        let error = Error::new(INVALID_ARGUMENT, fault);
        Self {
            code: error.code().reason.to_string(),
            reason: error.with_causes(),
            tried: Tried::default(),
        }
    }
}

/// The record for `<topic>.dead-letter`.
pub(crate) fn record(id: Uuid, event: &Envelope, consumer: &str, cause: &Cause) -> Envelope {
    let time = timestamp_of(now_micros());
    let letter = DeadLetter {
        event: Some(event.clone()),
        consumer: consumer.to_owned(),
        reason: cause.reason.clone(),
        attempts: cause.tried.counted,
        time,
        id: id.to_string(),
        code: cause.code.clone(),
        history: cause.tried.to_proto(),
    };
    Envelope {
        id: id.to_string(),
        topic: dead_letter_topic(&event.topic),
        r#type: DeadLetter::full_name(),
        time,
        data: letter.encode_to_vec(),
        ..event.clone()
    }
}

/// Parks an event and settles it. `false` if it was handled already: then there is nothing to park.
pub(crate) async fn park(
    database: &Database,
    consumer: &str,
    event: &Envelope,
    cause: &Cause,
) -> Result<bool> {
    let open = database.begin_own().await?;
    if !inbox::insert(open.connection(), consumer, &event.id).await? {
        return Ok(false);
    }
    upsert(open.connection(), consumer, event, cause).await?;
    tried::forget_in(open.connection(), consumer, &event.id).await?;
    redelivery::remove(open.connection(), consumer, &event.id).await?;
    outbox::append_record(&open, &record(Uuid::now_v7(), event, consumer, cause)).await?;
    open.commit().await?;
    Ok(true)
}

/// A letter that comes back keeps its id and its place; its attempts are the new ones.
async fn upsert(
    transaction: &DatabaseTransaction,
    consumer: &str,
    event: &Envelope,
    cause: &Cause,
) -> Result<()> {
    let history = serde_json::to_string(&cause.tried.history).map_err(Error::internal)?;
    let now = now_micros();
    let changing = [
        DeadLetters::State,
        DeadLetters::Code,
        DeadLetters::Reason,
        DeadLetters::Attempts,
        DeadLetters::History,
        DeadLetters::ParkedAt,
        DeadLetters::UpdatedAt,
    ];
    let key = [DeadLetters::Consumer, DeadLetters::EventId];
    let statement = Query::insert()
        .into_table(DeadLetters::Table)
        .columns([
            DeadLetters::Id,
            DeadLetters::Consumer,
            DeadLetters::EventId,
            DeadLetters::Topic,
            DeadLetters::Type,
            DeadLetters::Subject,
            DeadLetters::Envelope,
            DeadLetters::State,
            DeadLetters::Code,
            DeadLetters::Reason,
            DeadLetters::Attempts,
            DeadLetters::History,
            DeadLetters::ParkedAt,
            DeadLetters::UpdatedAt,
        ])
        .values([
            Uuid::now_v7().to_string().into(),
            consumer.into(),
            event.id.as_str().into(),
            event.topic.as_str().into(),
            event.r#type.as_str().into(),
            event.subject.as_str().into(),
            event.encode_to_vec().into(),
            State::Parked.name().into(),
            cause.code.as_str().into(),
            cause.reason.as_str().into(),
            i64::from(cause.tried.counted).into(),
            history.into(),
            now.into(),
            now.into(),
        ])
        .map_err(Error::internal)?
        .on_conflict(OnConflict::columns(key).update_columns(changing).to_owned())
        .take();
    transaction.execute(&statement).await?;
    Ok(())
}

/// Hands parked or discarded letters back to their consumers; returns how many. One that is being
/// replayed, or was, is left alone.
pub(crate) async fn replay(
    transaction: &DatabaseTransaction,
    letters: &[Letter],
    actor: &str,
) -> Result<usize> {
    let mut replayed = 0;
    for letter in letters {
        let from = [State::Parked, State::Discarded];
        if !change(transaction, letter, &from, State::Replaying, actor, "").await? {
            continue;
        }
        inbox::remove(transaction, &letter.consumer, &letter.event.id).await?;
        redelivery::insert(transaction, &letter.consumer, &letter.event).await?;
        replayed += 1;
    }
    Ok(replayed)
}

/// Decides against parked letters; returns how many. The rows stay, with who and why.
pub(crate) async fn discard(
    transaction: &DatabaseTransaction,
    letters: &[Letter],
    actor: &str,
    note: &str,
) -> Result<usize> {
    let mut discarded = 0;
    for letter in letters {
        let from = [State::Parked];
        let done = change(transaction, letter, &from, State::Discarded, actor, note).await?;
        discarded += usize::from(done);
    }
    Ok(discarded)
}

/// The effect of a letter that was replayed is there.
pub(crate) async fn mark_replayed(
    transaction: &DatabaseTransaction,
    consumer: &str,
    event_id: &str,
) -> Result<()> {
    let statement = Query::update()
        .table(DeadLetters::Table)
        .value(DeadLetters::State, State::Replayed.name())
        .value(DeadLetters::UpdatedAt, now_micros())
        .and_where(Expr::col(DeadLetters::Consumer).eq(consumer))
        .and_where(Expr::col(DeadLetters::EventId).eq(event_id))
        .and_where(Expr::col(DeadLetters::State).eq(State::Replaying.name()))
        .take();
    transaction.execute(&statement).await?;
    Ok(())
}

/// Forgets letters that were decided about longer ago than `retention`. What is parked stays until
/// somebody has decided.
pub(crate) async fn prune(database: &Database, retention: std::time::Duration) -> Result<()> {
    let decided = [State::Replayed, State::Discarded].map(State::name);
    let oldest = now_micros().saturating_sub(super::micros(retention));
    let statement = Query::delete()
        .from_table(DeadLetters::Table)
        .and_where(Expr::col(DeadLetters::State).is_in(decided))
        .and_where(Expr::col(DeadLetters::UpdatedAt).lt(oldest))
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&statement).await?;
    open.commit().await
}

async fn change(
    transaction: &DatabaseTransaction,
    letter: &Letter,
    from: &[State],
    to: State,
    actor: &str,
    note: &str,
) -> Result<bool> {
    let statement = Query::update()
        .table(DeadLetters::Table)
        .value(DeadLetters::State, to.name())
        .value(DeadLetters::UpdatedAt, now_micros())
        .value(DeadLetters::UpdatedBy, actor)
        .value(DeadLetters::Note, note)
        .and_where(Expr::col(DeadLetters::Id).eq(letter.id.as_str()))
        .and_where(Expr::col(DeadLetters::State).is_in(from.iter().map(|state| state.name())))
        .take();
    Ok(transaction.execute(&statement).await?.rows_affected() == 1)
}
