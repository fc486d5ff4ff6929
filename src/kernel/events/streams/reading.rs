//! Reading a topic without being a consumer.

use std::collections::BTreeMap;

use ::redis::cmd;
use ::redis::streams::StreamRangeReply;

use super::{PATIENCE, id, stream};
use crate::kernel::error::Result;
use crate::kernel::events::bus::{Cursor, Page, ReadFrom};
use crate::kernel::redis::Redis;

/// A page of a topic.
pub(super) async fn page(redis: &Redis, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
    let first = match &from {
        ReadFrom::Earliest => 0,
        ReadFrom::Time(time) => id::first_at(*time),
        ReadFrom::Cursor(cursor) => cursor.offset(topic),
    };
    let mut command = cmd("XRANGE");
    command.arg(stream(redis, topic)).arg(id::id(first)).arg("+").arg("COUNT").arg(limit);
    let entries: StreamRangeReply = redis.query_within(PATIENCE, &command).await?;
    let records: Vec<_> = entries.ids.iter().map(|entry| id::delivery(topic, entry, 0)).collect();
    let next = records.last().map_or(first, |record| record.position.offset + 1);
    Ok(Page { records, next: cursor(topic, next) })
}

/// Behind the newest record of a topic.
pub(super) async fn end(redis: &Redis, topic: &str) -> Result<Cursor> {
    let mut command = cmd("XREVRANGE");
    command.arg(stream(redis, topic)).arg("+").arg("-").arg("COUNT").arg(1);
    let newest: StreamRangeReply = redis.query_within(PATIENCE, &command).await?;
    let next = newest.ids.first().map_or(0, |entry| id::offset(&entry.id) + 1);
    Ok(cursor(topic, next))
}

fn cursor(topic: &str, next: i64) -> Cursor {
    Cursor(BTreeMap::from([(topic.to_owned(), next)]))
}
