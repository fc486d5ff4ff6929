//! What passes between billing and a payment provider.

use chrono::{DateTime, Utc};
use mainstay::contract::billing::SubscriptionId;
use mainstay::contract::identity::UserId;

/// What a user wants to buy.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// Who buys.
    pub user: UserId,
    /// The subscription it is for.
    pub subscription: SubscriptionId,
    /// Version of the subscription: with its id, what makes the purchase idempotent.
    pub version: i64,
    /// Id of the plan.
    pub plan: String,
    /// Id of the plan's price at Stripe.
    pub stripe_price: Option<String>,
}

/// How a provider answers a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkout {
    /// The plan is in force at once, until then, if it ends at all.
    Active {
        /// End of the paid period.
        period_end: Option<DateTime<Utc>>,
    },
    /// The user pays at this address; a report follows.
    Pending {
        /// Where the user pays.
        url: String,
        /// The provider's id of the checkout.
        reference: String,
    },
}

/// The provider's side of a running subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSubscription {
    /// The provider's id of the subscription.
    pub id: String,
    /// The provider's id of its one item.
    pub item: Option<String>,
}

/// A report that the provider signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderReport {
    /// The provider's id of the report; the same on each delivery.
    pub id: String,
    /// The provider's name for its kind.
    pub kind: String,
    /// When what it reports happened.
    pub time: DateTime<Utc>,
    /// What it says of a subscription; `None` for kinds that are of no interest.
    pub content: Option<Report>,
}

/// What a report says of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The user, where the report names one.
    pub user: Option<UserId>,
    /// The provider's id of the subscription.
    pub provider_subscription: Option<String>,
    /// The provider's id of its item.
    pub provider_item: Option<String>,
    /// How it stands.
    pub status: ProviderStatus,
    /// Id of our plan, where the report tells.
    pub plan: Option<String>,
    /// End of the paid period.
    pub period_end: Option<DateTime<Utc>>,
}

/// How a subscription stands with the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderStatus {
    /// Paid.
    Active,
    /// Not yet paid.
    Pending,
    /// A payment failed and is tried again.
    PastDue,
    /// Over for good.
    Ended,
}
