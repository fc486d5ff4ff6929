//! Whether the processes of a consumer ended in order.
//!
//! Each writes a row when it begins to consume and deletes it when it ends. A row that is there
//! already is of a process that crashed, or of another replica: either way the deliveries that come
//! next may be those that were under way when a process died, and are handled with care.

use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};

use super::instance;
use super::schema::ConsumerSessions;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::{micros, now_micros};

/// A process that has not said for so long that it lives is dead.
const SILENCE: Duration = Duration::from_secs(60);

/// Begins a session. `true` if there is another: the group may have lost a process.
pub(crate) async fn begin(database: &Database, consumer: &str, session: &str) -> Result<bool> {
    let others = Query::select()
        .expr(Expr::val(1))
        .from(ConsumerSessions::Table)
        .and_where(Expr::col(ConsumerSessions::Consumer).eq(consumer))
        .limit(1)
        .take();
    let forget_dead = Query::delete()
        .from_table(ConsumerSessions::Table)
        .and_where(Expr::col(ConsumerSessions::Consumer).eq(consumer))
        .and_where(Expr::col(ConsumerSessions::SeenAt).lt(now_micros() - micros(SILENCE)))
        .take();
    let own = Query::insert()
        .into_table(ConsumerSessions::Table)
        .columns([
            ConsumerSessions::Consumer,
            ConsumerSessions::Session,
            ConsumerSessions::Instance,
            ConsumerSessions::SeenAt,
        ])
        .values([consumer.into(), session.into(), instance().into(), now_micros().into()])
        .map_err(Error::internal)?
        .take();
    let open = database.begin_own().await?;
    let suspect = open.connection().query_one(&others).await?.is_some();
    open.connection().execute(&forget_dead).await?;
    open.connection().execute(&own).await?;
    open.commit().await?;
    Ok(suspect)
}

/// Says that the process lives.
pub(crate) async fn renew(database: &Database, consumer: &str, session: &str) -> Result<()> {
    let statement = Query::update()
        .table(ConsumerSessions::Table)
        .value(ConsumerSessions::SeenAt, now_micros())
        .and_where(Expr::col(ConsumerSessions::Consumer).eq(consumer))
        .and_where(Expr::col(ConsumerSessions::Session).eq(session))
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&statement).await?;
    open.commit().await
}

/// Ends a session in order.
pub(crate) async fn end(database: &Database, consumer: &str, session: &str) -> Result<()> {
    let statement = Query::delete()
        .from_table(ConsumerSessions::Table)
        .and_where(Expr::col(ConsumerSessions::Consumer).eq(consumer))
        .and_where(Expr::col(ConsumerSessions::Session).eq(session))
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&statement).await?;
    open.commit().await
}
