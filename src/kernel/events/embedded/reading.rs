//! Reading a topic without being a consumer.

use std::time::SystemTime;

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ConnectionTrait as _, DatabaseConnection};

use super::log;
use super::schema::Records;
use crate::kernel::error::Result;
use crate::kernel::events::bus::{Cursor, Page, ReadFrom};
use crate::kernel::events::micros;

/// The membership that read records name: none, for they are not acknowledged.
const NO_EPOCH: u64 = 0;

/// The next records of a topic.
pub(super) async fn page(
    connection: &DatabaseConnection,
    topic: &str,
    from: ReadFrom,
    limit: usize,
) -> Result<Page> {
    let mut query = log::select();
    query.and_where(Expr::col(Records::Topic).eq(topic));
    query.limit(u64::try_from(limit).unwrap_or(u64::MAX));
    let begin = match &from {
        ReadFrom::Earliest => 0,
        ReadFrom::Time(time) => {
            query.and_where(Expr::col(Records::PublishedAt).gte(unix_micros(*time)));
            0
        }
        ReadFrom::Cursor(cursor) => cursor.offset(topic),
    };
    query.and_where(Expr::col(Records::Offset).gte(begin));
    let records = log::read(connection, query).await?;
    let next = match (records.last(), from) {
        (Some(last), _) => at(topic, last.offset + 1),
        (None, ReadFrom::Cursor(cursor)) => cursor,
        (None, _) => end(connection, topic).await?,
    };
    let records = records.into_iter().map(|record| record.deliver(NO_EPOCH)).collect();
    Ok(Page { records, next })
}

/// Behind the newest record of a topic.
pub(super) async fn end(connection: &DatabaseConnection, topic: &str) -> Result<Cursor> {
    let query = Query::select()
        .expr_as(Expr::col(Records::Offset).max(), "newest")
        .from(Records::Table)
        .and_where(Expr::col(Records::Topic).eq(topic))
        .take();
    let row = connection.query_one(&query).await?;
    let newest = row.map(|row| row.try_get::<Option<i64>>("", "newest")).transpose()?;
    Ok(at(topic, newest.flatten().unwrap_or_default() + 1))
}

fn at(topic: &str, offset: i64) -> Cursor {
    Cursor([(topic.to_owned(), offset)].into())
}

fn unix_micros(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map(micros).unwrap_or_default()
}
