//! Who consumes for a group: one subscription at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::sea_query::{Condition, Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::Broker;
use super::schema::GroupLeases;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::dead_letter::describe;
use crate::kernel::events::{micros, now_micros};

/// A lease that is held, and renewed in the background until it is dropped.
pub(super) struct Lease {
    held: Arc<AtomicBool>,
    _renewal: AbortOnDropHandle<()>,
}

impl Lease {
    /// Takes the lease of a group if it is free, lapsed, or the owner's already.
    pub(super) async fn take(
        broker: &Arc<Broker>,
        group: &str,
        owner: Uuid,
    ) -> Result<Option<Self>> {
        if !upsert(broker, group, owner).await? {
            return Ok(None);
        }
        let held = Arc::new(AtomicBool::new(true));
        let renewal = renew(broker.clone(), group.to_owned(), owner, held.clone());
        Ok(Some(Self { held, _renewal: AbortOnDropHandle::new(tokio::spawn(renewal)) }))
    }

    /// Whether it is still ours, as far as is known.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }
}

/// Whether the lease is the owner's, asked inside the transaction that depends on it.
pub(super) async fn is_owned(
    transaction: &DatabaseTransaction,
    group: &str,
    owner: Uuid,
) -> Result<bool> {
    let query = Query::select()
        .expr(Expr::val(1))
        .from(GroupLeases::Table)
        .and_where(Expr::col(GroupLeases::ConsumerGroup).eq(group))
        .and_where(Expr::col(GroupLeases::Owner).eq(owner))
        .take();
    Ok(transaction.query_one(&query).await?.is_some())
}

/// Gives the lease up, so that another subscription takes over at once.
pub(super) async fn give_up(broker: &Broker, group: &str, owner: Uuid) -> Result<()> {
    let delete = Query::delete()
        .from_table(GroupLeases::Table)
        .and_where(Expr::col(GroupLeases::ConsumerGroup).eq(group))
        .and_where(Expr::col(GroupLeases::Owner).eq(owner))
        .take();
    let (transaction, _turn) = broker.begin(&broker.positions).await?;
    transaction.execute(&delete).await?;
    Ok(transaction.commit().await?)
}

async fn upsert(broker: &Broker, group: &str, owner: Uuid) -> Result<bool> {
    let now = now_micros();
    let mine_or_lapsed = Condition::any()
        .add(Expr::col((GroupLeases::Table, GroupLeases::ExpiresAt)).lt(now))
        .add(Expr::col((GroupLeases::Table, GroupLeases::Owner)).eq(owner));
    let take = OnConflict::column(GroupLeases::ConsumerGroup)
        .update_columns([GroupLeases::Owner, GroupLeases::ExpiresAt])
        .action_cond_where(mine_or_lapsed)
        .to_owned();
    let expires_at = now.saturating_add(micros(broker.lease));
    let statement = Query::insert()
        .into_table(GroupLeases::Table)
        .columns([GroupLeases::ConsumerGroup, GroupLeases::Owner, GroupLeases::ExpiresAt])
        .values([group.into(), owner.into(), expires_at.into()])
        .map_err(Error::internal)?
        .on_conflict(take)
        .take();
    let (transaction, _turn) = broker.begin(&broker.positions).await?;
    let taken = transaction.execute(&statement).await?.rows_affected() == 1;
    transaction.commit().await?;
    Ok(taken)
}

async fn renew(broker: Arc<Broker>, group: String, owner: Uuid, held: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(broker.lease / 4).await;
        match upsert(&broker, &group, owner).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(group, "another process consumes for this group now");
                held.store(false, Ordering::Relaxed);
                return;
            }
            // Still ours until somebody takes it; acknowledging asks again.
            Err(error) => {
                tracing::warn!(group, error = describe(&error), "cannot renew a group's lease");
            }
        }
    }
}
