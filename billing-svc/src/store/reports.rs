//! Reports of the payment provider: each is taken in once, in one transaction with its effect.

use chrono::{DateTime, Utc};
use mainstay::kernel::Result;
use mainstay::kernel::database::Transaction;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter};

use super::row::provider_report;
use super::subscriptions::{
    subscription_by_provider, subscription_by_user, subscription_insert_absent, subscription_update,
};
use crate::domain::{ProviderReport, Report, Subscription};

/// Takes in a report; returns whether it changed anything.
pub(super) async fn report_apply(
    tx: &Transaction,
    report: &ProviderReport,
    provider: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    if !report_note(tx, report, now).await? {
        return Ok(false);
    }
    let Some(content) = &report.content else { return Ok(false) };
    let Some(mut subscription) = subscription_of(tx, content, provider, now).await? else {
        tracing::warn!(report = report.id, "a report names no subscription that we know");
        return Ok(false);
    };
    let Some(change) = subscription.reported(content, report.time, now) else {
        return Ok(false);
    };
    subscription_update(tx, &subscription, &change).await?;
    let note = provider_report::ActiveModel {
        id: Set(report.id.clone()),
        applied: Set(true),
        ..Default::default()
    };
    note.update(tx.connection()).await?;
    Ok(true)
}

/// Forgets the reports seen before `until`.
pub(super) async fn report_prune(tx: &Transaction, until: DateTime<Utc>) -> Result<u64> {
    let pruned = provider_report::Entity::delete_many()
        .filter(provider_report::Column::Received.lt(until))
        .exec(tx.connection())
        .await?;
    Ok(pruned.rows_affected)
}

/// Notes that a report was seen; `false` when it was seen before.
async fn report_note(
    tx: &Transaction,
    report: &ProviderReport,
    now: DateTime<Utc>,
) -> Result<bool> {
    let note = provider_report::ActiveModel {
        id: Set(report.id.clone()),
        kind: Set(report.kind.clone()),
        received: Set(now),
        applied: Set(false),
    };
    let inserted = provider_report::Entity::insert(note)
        .on_conflict(OnConflict::column(provider_report::Column::Id).do_nothing().to_owned())
        .exec_without_returning(tx.connection())
        .await?;
    Ok(inserted > 0)
}

/// The subscription that a report is about. One of a user who never came here is begun.
async fn subscription_of(
    tx: &Transaction,
    report: &Report,
    provider: &str,
    now: DateTime<Utc>,
) -> Result<Option<Subscription>> {
    if let Some(id) = &report.provider_subscription
        && let Some(found) = subscription_by_provider(tx.connection(), id).await?
    {
        return Ok(Some(found));
    }
    let Some(user) = report.user else { return Ok(None) };
    subscription_insert_absent(tx, &Subscription::free(user, provider, now)).await?;
    subscription_by_user(tx.connection(), user).await
}
