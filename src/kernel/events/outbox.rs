//! The outbox: events as rows of the writer's transaction.
//!
//! The columns `id`, `aggregatetype`, `aggregateid`, `type` and `payload` are those that Debezium's
//! outbox event router reads by default, so that change data capture can replace the relay.

mod captured;
mod claim;
mod schema;
mod status;

use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait as _, DbErr, QueryResult};
use uuid::Uuid;

use super::origin::Origin;
use super::{Event, now_micros};
use crate::kernel::database::Open;
use crate::kernel::error::{Error, Result};
use crate::kernel::proto::events::Envelope;
use crate::kernel::telemetry::propagation::TraceContext;
use crate::kernel::time::timestamp_of;

pub use captured::prune_captured;
pub(crate) use claim::{Claim, Postponed, Reach, Settled, claim};
use schema::Outbox;
pub(crate) use schema::{AddLastError, AddTracestate, CreateOutbox, ReadInOrder};
pub(crate) use status::{Failing, backlog, failing, oldest};

/// Writes an event into the outbox of the open transaction.
pub(crate) async fn append<E: Event>(open: &Open, event: &E) -> Result<()> {
    let full_name = E::full_name();
    let declared = open.database().event(&full_name)?;
    let payload = event.encode_to_vec();
    let key = declared.key.read(&payload)?.unwrap_or_default();
    let (origin, trace) = (Origin::current(), TraceContext::current());
    let now = now_micros();
    let statement = Query::insert()
        .into_table(Outbox::Table)
        .columns([
            Outbox::Id,
            Outbox::Aggregatetype,
            Outbox::Aggregateid,
            Outbox::Type,
            Outbox::Payload,
            Outbox::Topic,
            Outbox::Source,
            Outbox::Traceparent,
            Outbox::Tracestate,
            Outbox::Actor,
            Outbox::RequestId,
            Outbox::CreatedAt,
            Outbox::NextAttemptAt,
        ])
        .values([
            Uuid::now_v7().into(),
            declared.topic.clone().into(),
            key.into(),
            full_name.into(),
            payload.into(),
            declared.topic.clone().into(),
            format!("/{}", open.database().service()).into(),
            trace.parent.into(),
            trace.state.into(),
            origin.actor.into(),
            origin.request_id.into(),
            now.into(),
            now.into(),
        ])
        .map_err(Error::internal)?
        .take();
    open.connection().execute(&statement).await?;
    open.note_published();
    Ok(())
}

/// Writes a record as it is into the outbox of the open transaction: one that no contract declares,
/// such as a dead letter.
pub(crate) async fn append_record(open: &Open, record: &Envelope) -> Result<()> {
    let id: Uuid = record.id.parse().map_err(Error::internal)?;
    let now = now_micros();
    let statement = Query::insert()
        .into_table(Outbox::Table)
        .columns([
            Outbox::Id,
            Outbox::Aggregatetype,
            Outbox::Aggregateid,
            Outbox::Type,
            Outbox::Payload,
            Outbox::Topic,
            Outbox::Source,
            Outbox::Traceparent,
            Outbox::Tracestate,
            Outbox::Actor,
            Outbox::RequestId,
            Outbox::CreatedAt,
            Outbox::NextAttemptAt,
        ])
        .values([
            id.into(),
            record.topic.as_str().into(),
            record.subject.as_str().into(),
            record.r#type.as_str().into(),
            record.data.clone().into(),
            record.topic.as_str().into(),
            format!("/{}", open.database().service()).into(),
            record.traceparent.as_str().into(),
            record.tracestate.as_str().into(),
            record.actor.as_str().into(),
            record.request_id.as_str().into(),
            now.into(),
            now.into(),
        ])
        .map_err(Error::internal)?
        .take();
    open.connection().execute(&statement).await?;
    open.note_published();
    Ok(())
}

/// A row that a relay has claimed.
pub(crate) struct Row {
    pub(crate) position: i64,
    pub(crate) attempts: u32,
    /// Whether it is the oldest of its aggregate that waits.
    pub(crate) is_first: bool,
    pub(crate) envelope: Envelope,
}

impl Row {
    /// The aggregate, whose events keep their order.
    pub(crate) fn aggregate(&self) -> (&str, &str) {
        (&self.envelope.topic, &self.envelope.subject)
    }

    fn read_claimed(row: &QueryResult) -> Result<Self, DbErr> {
        let mut read = Self::read(row)?;
        read.is_first = row.try_get::<i64>("", "head")? == read.position;
        Ok(read)
    }

    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let created_at: i64 = row.try_get("", "created_at")?;
        let envelope = Envelope {
            id: row.try_get::<Uuid>("", "id")?.to_string(),
            source: row.try_get("", "source")?,
            r#type: row.try_get("", "type")?,
            subject: row.try_get("", "aggregateid")?,
            time: timestamp_of(created_at),
            topic: row.try_get("", "topic")?,
            traceparent: row.try_get("", "traceparent")?,
            tracestate: row.try_get("", "tracestate")?,
            actor: row.try_get("", "actor")?,
            request_id: row.try_get("", "request_id")?,
            data: row.try_get::<Vec<u8>>("", "payload")?,
        };
        Ok(Self {
            position: row.try_get("", "position")?,
            attempts: row.try_get::<i32>("", "attempts")?.unsigned_abs(),
            is_first: false,
            envelope,
        })
    }
}
