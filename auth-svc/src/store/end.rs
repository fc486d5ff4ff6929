//! Ending sessions, each with its event, within a transaction.

use chrono::{DateTime, Utc};
use mainstay::kernel::database::Transaction;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _};
use uuid::Uuid;

use super::entity::session::{Column, Entity};
use super::{micros, session};
use crate::domain::{AuthError, EndReason, SessionId, UserId};
use crate::events::published;

/// Ends the live sessions of a user but `keep`.
pub(super) async fn sessions_of(
    transaction: &Transaction,
    user_id: UserId,
    keep: Option<SessionId>,
    reason: EndReason,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    let others = keep.map(|keep| Column::Id.ne(Uuid::from(keep)));
    let those = Condition::all().add(Column::AccountId.eq(Uuid::from(user_id))).add_option(others);
    sessions(transaction, those, reason, now).await
}

/// Ends one session if it is live.
pub(super) async fn session(
    transaction: &Transaction,
    session_id: Uuid,
    reason: EndReason,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    sessions(transaction, Condition::all().add(Column::Id.eq(session_id)), reason, now).await
}

async fn sessions(
    transaction: &Transaction,
    which: Condition,
    reason: EndReason,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    let connection = transaction.connection();
    let live = which.add(session::is_live(now));
    for row in Entity::find().filter(live).all(connection).await? {
        // Somebody else may have ended it in the meantime: who does so tells of it.
        let ended = Entity::update_many()
            .col_expr(Column::EndTime, Expr::value(micros(now)))
            .filter(Column::Id.eq(row.id))
            .filter(Column::EndTime.is_null())
            .exec(connection)
            .await?;
        if ended.rows_affected > 0 {
            let event = session::into_domain(row)?.ended(reason);
            published::store(transaction, &event).await?;
        }
    }
    Ok(())
}
