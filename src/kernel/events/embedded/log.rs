//! Statements on the log and on the groups' positions.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::{DecodeError, Message as _};
use sea_orm::sea_query::{
    Condition, Expr, ExprTrait as _, OnConflict, Order, Query, SelectStatement,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};

use super::schema::{GroupOffsets, Records};
use crate::kernel::error::{Error, Result};
use crate::kernel::events::bus::{Delivery, Position};
use crate::kernel::events::now_micros;
use crate::kernel::proto::events::Envelope;

/// Rows in one INSERT: well below SQLite's limit on bound values.
const INSERT_ROWS: usize = 500;

/// A record as it is read.
pub(super) struct Record {
    pub(super) offset: i64,
    pub(super) topic: String,
    pub(super) published: SystemTime,
    /// The error when its bytes are no envelope.
    pub(super) envelope: Result<Envelope, DecodeError>,
}

impl Record {
    /// As it is handed out under a membership.
    pub(super) fn deliver(self, epoch: u64) -> Delivery {
        let Self { offset, topic, published, envelope } = self;
        let (envelope, fault) = match envelope {
            Ok(envelope) => (envelope, None),
            Err(error) => (nameless(&topic, offset), Some(format!("it is no envelope: {error}"))),
        };
        let position = Position { stream: topic, offset, epoch };
        Delivery { envelope, position, published, fault }
    }
}

/// What stands for a record that cannot be read.
fn nameless(topic: &str, offset: i64) -> Envelope {
    Envelope { id: format!("{topic}:{offset}"), topic: topic.to_owned(), ..Envelope::default() }
}

/// Appends records in their order.
pub(super) async fn append(transaction: &DatabaseTransaction, records: &[Envelope]) -> Result<()> {
    let now = now_micros();
    for chunk in records.chunks(INSERT_ROWS) {
        let mut insert = Query::insert();
        insert.into_table(Records::Table).columns([
            Records::Topic,
            Records::Key,
            Records::Envelope,
            Records::PublishedAt,
        ]);
        for record in chunk {
            let values = [
                record.topic.clone().into(),
                record.subject.clone().into(),
                record.encode_to_vec().into(),
                now.into(),
            ];
            insert.values(values).map_err(Error::internal)?;
        }
        transaction.execute(&insert).await?;
    }
    Ok(())
}

/// The offset of the newest record; 0 when there is none.
pub(super) async fn head(connection: &impl ConnectionTrait) -> Result<i64> {
    let query = Query::select()
        .expr_as(Expr::col(Records::Offset).max(), "head")
        .from(Records::Table)
        .take();
    let row = connection.query_one(&query).await?;
    let head = row.map(|row| row.try_get::<Option<i64>>("", "head")).transpose()?;
    Ok(head.flatten().unwrap_or_default())
}

/// The next records of some topics, each from behind an offset, in the order of the log.
pub(super) async fn after(
    connection: &DatabaseConnection,
    offsets: &BTreeMap<String, i64>,
    limit: u64,
) -> Result<Vec<Record>> {
    let query = select().cond_where(behind(offsets)).limit(limit).take();
    read(connection, query).await
}

/// How many records of some topics there are, each from behind an offset.
pub(super) async fn count_after(
    connection: &DatabaseConnection,
    offsets: &BTreeMap<String, i64>,
) -> Result<i64> {
    let query = Query::select()
        .expr_as(Expr::col(Records::Offset).count(), "records")
        .from(Records::Table)
        .cond_where(behind(offsets))
        .take();
    let row = connection.query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "records")).transpose()?.unwrap_or_default())
}

/// How far a group is on each topic; nothing for a topic that is new to it.
pub(super) async fn positions(
    connection: &DatabaseConnection,
    group: &str,
) -> Result<BTreeMap<String, i64>> {
    let query = Query::select()
        .columns([GroupOffsets::Topic, GroupOffsets::Offset])
        .from(GroupOffsets::Table)
        .and_where(Expr::col(GroupOffsets::ConsumerGroup).eq(group))
        .take();
    let mut positions = BTreeMap::new();
    for row in connection.query_all(&query).await? {
        positions.insert(row.try_get("", "topic")?, row.try_get("", "offset")?);
    }
    Ok(positions)
}

/// Moves a group's position on a topic.
pub(super) async fn move_position(
    transaction: &DatabaseTransaction,
    group: &str,
    topic: &str,
    offset: i64,
) -> Result<()> {
    let key = [GroupOffsets::ConsumerGroup, GroupOffsets::Topic];
    let upsert = Query::insert()
        .into_table(GroupOffsets::Table)
        .columns([GroupOffsets::ConsumerGroup, GroupOffsets::Topic, GroupOffsets::Offset])
        .values([group.into(), topic.into(), offset.into()])
        .map_err(Error::internal)?
        .on_conflict(OnConflict::columns(key).update_column(GroupOffsets::Offset).to_owned())
        .take();
    transaction.execute(&upsert).await?;
    Ok(())
}

fn behind(offsets: &BTreeMap<String, i64>) -> Condition {
    offsets.iter().fold(Condition::any(), |wanted, (topic, offset)| {
        let topic = Expr::col(Records::Topic).eq(topic.as_str());
        wanted.add(topic.and(Expr::col(Records::Offset).gt(*offset)))
    })
}

/// A query for records in the order of the log.
pub(super) fn select() -> SelectStatement {
    Query::select()
        .columns([Records::Offset, Records::Topic, Records::Envelope, Records::PublishedAt])
        .from(Records::Table)
        .order_by(Records::Offset, Order::Asc)
        .take()
}

/// Reads what [`select`] asks for.
pub(super) async fn read(
    connection: &DatabaseConnection,
    query: SelectStatement,
) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for row in connection.query_all(&query).await? {
        let (offset, topic) = (row.try_get("", "offset")?, row.try_get("", "topic")?);
        let bytes: Vec<u8> = row.try_get("", "envelope")?;
        let published: i64 = row.try_get("", "published_at")?;
        let published = UNIX_EPOCH + Duration::from_micros(published.unsigned_abs());
        records.push(Record { offset, topic, published, envelope: Envelope::decode(&*bytes) });
    }
    Ok(records)
}
