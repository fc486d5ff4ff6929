//! The use cases. [`App`] is a struct of ports; each file of `app/` adds what belongs together.

mod plans;
mod reports;
mod subscriptions;

use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, Utc};
use mainstay::contract::billing::PLAN_UNKNOWN;
use mainstay::kernel::{Error, Result};

use crate::domain::{Catalogue, PaymentProvider, Plan, SubscriptionStore, WebhookVerifier};

/// Everything billing can do, over its ports.
#[derive(Clone)]
pub struct App {
    /// The plans on offer.
    pub catalogue: Arc<Catalogue>,
    /// Where subscriptions are kept.
    pub store: Arc<dyn SubscriptionStore>,
    /// Who takes the money.
    pub provider: Arc<dyn PaymentProvider>,
    /// Who tells reports from forgeries.
    pub verifier: Arc<dyn WebhookVerifier>,
}

impl App {
    /// The plans on offer, cheapest first.
    pub fn plans(&self) -> &[Plan] {
        self.catalogue.plans()
    }

    /// The plan with this id, or `PLAN_UNKNOWN` naming those there are.
    fn plan(&self, id: &str) -> Result<&Plan> {
        self.catalogue.get(id).ok_or_else(|| {
            let known: Vec<_> = self.plans().iter().map(|plan| plan.id.as_str()).collect();
            let known = known.join(", ");
            Error::new(PLAN_UNKNOWN, format!("plan {id} is not on offer"))
                .field("plan", format!("must be one of {known}"))
        })
    }
}

/// Now, as exact as every database keeps it.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
