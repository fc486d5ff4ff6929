//! Subscriptions: found, ensured, saved.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mainstay::contract::identity::UserId;
use mainstay::kernel::database::Transaction;
use mainstay::kernel::error::ABORTED;
use mainstay::kernel::{Error, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::row::{self, subscription};
use super::{Store, plans, reports};
use crate::domain::{Change, PlanChange, ProviderReport, Subscription, SubscriptionStore};
use crate::events;

/// Version of a subscription that was changed once: it may be new to the store.
const FIRST_CHANGE: i64 = 2;

#[async_trait]
impl SubscriptionStore for Store {
    async fn subscription_find(&self, user: UserId) -> Result<Option<Subscription>> {
        subscription_by_user(self.database.connection(), user).await
    }

    async fn subscription_ensure(&self, fresh: Subscription) -> Result<Subscription> {
        let tx = self.database.begin().await?;
        subscription_insert_absent(&tx, &fresh).await?;
        let stored = subscription_by_user(tx.connection(), fresh.user).await?;
        tx.commit().await?;
        stored.ok_or_else(|| Error::not_found("subscription of user", fresh.user))
    }

    async fn plan_revision(&self) -> Result<i64> {
        plans::revision(self.database.connection()).await
    }

    async fn plan_change_list(&self, after: i64, since: DateTime<Utc>) -> Result<Vec<PlanChange>> {
        plans::change_list(self.database.connection(), after, since).await
    }

    async fn plan_change_prune(&self, until: DateTime<Utc>) -> Result<u64> {
        let tx = self.database.begin().await?;
        let pruned = plans::change_prune(&tx, until).await?;
        tx.commit().await?;
        Ok(pruned)
    }

    async fn subscription_save(&self, changed: &Subscription, change: &Change) -> Result<()> {
        let tx = self.database.begin().await?;
        subscription_update(&tx, changed, change).await?;
        tx.commit().await
    }

    async fn report_apply(&self, report: &ProviderReport, now: DateTime<Utc>) -> Result<bool> {
        let tx = self.database.begin().await?;
        let applied = reports::report_apply(&tx, report, self.provider, now).await?;
        tx.commit().await?;
        Ok(applied)
    }

    async fn report_prune(&self, until: DateTime<Utc>) -> Result<u64> {
        let tx = self.database.begin().await?;
        let pruned = reports::report_prune(&tx, until).await?;
        tx.commit().await?;
        Ok(pruned)
    }
}

/// The user's subscription.
pub(super) async fn subscription_by_user(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<Option<Subscription>> {
    let found = subscription::Entity::find()
        .filter(subscription::Column::UserId.eq(uuid::Uuid::from(user)))
        .one(connection)
        .await?;
    found.map(row::to_domain).transpose()
}

/// The subscription that the provider knows by this id.
pub(super) async fn subscription_by_provider(
    connection: &impl ConnectionTrait,
    provider_subscription: &str,
) -> Result<Option<Subscription>> {
    let found = subscription::Entity::find()
        .filter(subscription::Column::ProviderSubscription.eq(provider_subscription))
        .one(connection)
        .await?;
    found.map(row::to_domain).transpose()
}

/// Stores a subscription unless its user has one; returns whether it did.
pub(super) async fn subscription_insert_absent(
    tx: &Transaction,
    fresh: &Subscription,
) -> Result<bool> {
    let inserted = subscription::Entity::insert(row::from_domain(fresh))
        .on_conflict(OnConflict::column(subscription::Column::UserId).do_nothing().to_owned())
        .exec_without_returning(tx.connection())
        .await?;
    Ok(inserted > 0)
}

/// Stores a change that was decided on the version before, and tells it.
pub(super) async fn subscription_update(
    tx: &Transaction,
    changed: &Subscription,
    change: &Change,
) -> Result<()> {
    let updated = subscription::Entity::update_many()
        .set(row::from_domain(changed))
        .filter(subscription::Column::Id.eq(uuid::Uuid::from(changed.id)))
        .filter(subscription::Column::Version.eq(changed.version - 1))
        .exec(tx.connection())
        .await?;
    let begun = updated.rows_affected == 0
        && changed.version == FIRST_CHANGE
        && subscription_insert_absent(tx, changed).await?;
    if updated.rows_affected == 0 && !begun {
        return Err(Error::new(ABORTED, "the subscription was changed meanwhile; try again"));
    }
    tx.publish(&events::subscription_changed(changed, change)).await?;
    // Last, because other changes of plans wait from here on until this one has committed.
    if change.previous_plan != changed.plan {
        plans::change_note(tx, changed).await?;
    }
    Ok(())
}
