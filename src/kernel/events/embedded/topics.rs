//! What is stated about topics, and the pruning that follows from it.

use std::time::Duration;

use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};

use super::schema::{Records, Topics};
use crate::kernel::error::{Error, Result};
use crate::kernel::events::{micros, now_micros};
use crate::kernel::policy::TopicSpec;

/// A topic as it is stated.
struct Stated {
    name: String,
    retention: Option<i64>,
    compacted: bool,
}

/// Writes down what is stated. Topics need no making, and one stream stands for all partitions.
pub(super) async fn state(transaction: &DatabaseTransaction, topics: &[TopicSpec]) -> Result<()> {
    for topic in topics {
        let changed = [Topics::Retention, Topics::Compacted];
        let upsert = Query::insert()
            .into_table(Topics::Table)
            .columns([Topics::Name, Topics::Retention, Topics::Compacted])
            .values([
                topic.name.as_str().into(),
                topic.retention.map(micros).into(),
                topic.compacted.into(),
            ])
            .map_err(Error::internal)?
            .on_conflict(OnConflict::column(Topics::Name).update_columns(changed).to_owned())
            .take();
        transaction.execute(&upsert).await?;
    }
    Ok(())
}

/// Deletes what is past its retention; of a compacted topic all but the last record of each key.
/// `retention` holds where none is stated.
pub(super) async fn prune(transaction: &DatabaseTransaction, retention: Duration) -> Result<()> {
    let stated = stated(transaction).await?;
    let now = now_micros();
    let before = |retention: i64| {
        Expr::col((Records::Table, Records::PublishedAt)).lt(now.saturating_sub(retention))
    };
    let others = Expr::col((Records::Table, Records::Topic))
        .is_not_in(stated.iter().map(|topic| topic.name.as_str()));
    delete(transaction, before(micros(retention)).and(others)).await?;
    for topic in stated {
        let old = before(topic.retention.unwrap_or_else(|| micros(retention)))
            .and(Expr::col((Records::Table, Records::Topic)).eq(topic.name));
        delete(transaction, if topic.compacted { old.and(has_successor()) } else { old }).await?;
    }
    Ok(())
}

async fn stated(transaction: &DatabaseTransaction) -> Result<Vec<Stated>> {
    let query = Query::select()
        .columns([Topics::Name, Topics::Retention, Topics::Compacted])
        .from(Topics::Table)
        .take();
    let mut stated = Vec::new();
    for row in transaction.query_all(&query).await? {
        stated.push(Stated {
            name: row.try_get("", "name")?,
            retention: row.try_get("", "retention")?,
            compacted: row.try_get("", "compacted")?,
        });
    }
    Ok(stated)
}

async fn delete(transaction: &DatabaseTransaction, old: Expr) -> Result<()> {
    let delete = Query::delete().from_table(Records::Table).and_where(old).take();
    transaction.execute(&delete).await?;
    Ok(())
}

/// Whether there is a later record of the same key.
fn has_successor() -> Expr {
    let of = |column: Records| Expr::col((Alias::new("later"), column));
    let this = |column: Records| Expr::col((Records::Table, column));
    let later = Query::select()
        .expr(Expr::val(1))
        .from_as(Records::Table, Alias::new("later"))
        .and_where(of(Records::Topic).eq(this(Records::Topic)))
        .and_where(of(Records::Key).eq(this(Records::Key)))
        .and_where(of(Records::Offset).gt(this(Records::Offset)))
        .take();
    Expr::exists(later)
}
