//! What billing needs of the world.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mainstay::contract::identity::UserId;
use mainstay::kernel::Result;

use super::news::PlanChange;
use super::provider::{Checkout, ProviderReport, ProviderSubscription, Purchase};
use super::subscription::{Change, Subscription};

/// Where subscriptions are kept.
#[async_trait]
pub trait SubscriptionStore: Send + Sync {
    /// The user's subscription, if the user has one.
    async fn subscription_find(&self, user: UserId) -> Result<Option<Subscription>>;

    /// Stores the subscription unless the user has one; returns the one that is stored.
    async fn subscription_ensure(&self, fresh: Subscription) -> Result<Subscription>;

    /// How many changes of plans there have been.
    async fn plan_revision(&self) -> Result<i64>;

    /// The changes of plans after a revision and after a time: the newest [`MOST_CHANGES`] and one
    /// more, oldest first.
    ///
    /// [`MOST_CHANGES`]: super::MOST_CHANGES
    async fn plan_change_list(&self, after: i64, since: DateTime<Utc>) -> Result<Vec<PlanChange>>;

    /// Forgets the changes of plans before `until`; returns how many.
    async fn plan_change_prune(&self, until: DateTime<Utc>) -> Result<u64>;

    /// Stores a changed subscription and tells the platform, together or not at all. One whose
    /// version before was the first may not be stored yet. `ABORTED` when somebody else changed it
    /// since it was read.
    async fn subscription_save(&self, changed: &Subscription, change: &Change) -> Result<()>;

    /// Takes in a report: what it makes of the subscription, the event that tells it, and the note
    /// that the report was seen are stored together or not at all. Returns whether anything
    /// changed; a report seen before, or about nobody we know, changes nothing.
    async fn report_apply(&self, report: &ProviderReport, now: DateTime<Utc>) -> Result<bool>;

    /// Forgets which reports were seen before `until`; returns how many.
    async fn report_prune(&self, until: DateTime<Utc>) -> Result<u64>;
}

/// Who takes the money.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Name of the provider: `manual` or `stripe`.
    fn name(&self) -> &'static str;

    /// Begins a purchase. Repeating it with the same subscription and version is harmless.
    async fn purchase(&self, purchase: Purchase) -> Result<Checkout>;

    /// Changes the plan of a running subscription.
    async fn change(
        &self,
        running: Option<&ProviderSubscription>,
        purchase: Purchase,
    ) -> Result<Checkout>;

    /// Ends a subscription, or the checkout with this reference. Ending what is over is no error.
    async fn cancel(
        &self,
        running: Option<&ProviderSubscription>,
        checkout: Option<&str>,
    ) -> Result<()>;
}

/// Who tells a provider's report from a forgery.
pub trait WebhookVerifier: Send + Sync {
    /// Reads a report after its signature was found good at the time `now`.
    /// `WEBHOOK_SIGNATURE_INVALID` or `INVALID_ARGUMENT` otherwise.
    fn verify(&self, payload: &[u8], signature: &str, now: DateTime<Utc>)
    -> Result<ProviderReport>;
}
