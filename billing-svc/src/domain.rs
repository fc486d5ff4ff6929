//! What billing is about, with no framework in sight: the catalogue of plans, a user's subscription
//! and how it changes, what a payment provider reports, and the ports that adapters implement.

mod news;
mod plan;
mod ports;
mod provider;
mod subscription;

pub use news::{MOST_CHANGES, PlanChange, PlanNews};
pub use plan::{Catalogue, FREE_PLAN, Plan};
pub use ports::{PaymentProvider, SubscriptionStore, WebhookVerifier};
pub use provider::{
    Checkout, ProviderReport, ProviderStatus, ProviderSubscription, Purchase, Report,
};
pub use subscription::{Change, Refusal, Subscription, SubscriptionState};
