//! What users' plans include: asked of billing, remembered for a moment.
//!
//! An answer is taken for current for about a second, so that a change of plan shows within two.
//! While billing is away the last answer holds for some minutes; without one nothing can be said.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay::contract::billing::BillingClient;
use mainstay::contract::billing::proto::{GetUserEntitlementsRequest, ListPlansRequest};
use mainstay::kernel::error::{Error, Result};
use moka::future::Cache;

/// How many users are remembered.
const MOST_USERS: u64 = 100_000;

/// How long the catalogue of plans is taken for current.
const CATALOGUE_FRESH: Duration = Duration::from_secs(60);

/// What one user's plan includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The plan.
    pub(crate) plan: String,
    /// The features it includes.
    pub(crate) features: Vec<String>,
    /// When billing said so, in seconds since 1970.
    asked_at: u64,
}

/// Each plan with the features it includes.
type Catalogue = Arc<Vec<(String, Vec<String>)>>;

/// Plans and features of users.
pub(crate) struct Entitlements {
    billing: Arc<dyn BillingClient>,
    fresh: Cache<String, Arc<Known>>,
    last: Cache<String, Arc<Known>>,
    catalogue: Cache<(), Catalogue>,
}

impl Entitlements {
    /// Entitlements by billing; an answer is current for `fresh` and used for `kept` at most.
    pub(crate) fn new(billing: Arc<dyn BillingClient>, fresh: Duration, kept: Duration) -> Self {
        Self {
            billing,
            fresh: Cache::builder().max_capacity(MOST_USERS).time_to_live(fresh).build(),
            last: Cache::builder().max_capacity(MOST_USERS).time_to_live(kept).build(),
            catalogue: Cache::builder().time_to_live(CATALOGUE_FRESH).build(),
        }
    }

    /// What a user's plan includes. `UNAVAILABLE` when billing is away and was never asked.
    pub(crate) async fn of(&self, user_id: &str) -> Result<Arc<Known>> {
        match self.fresh.try_get_with_by_ref(user_id, self.ask(user_id)).await {
            Ok(known) => Ok(known),
            Err(error) => self.last.get(user_id).await.ok_or_else(|| {
                Error::unavailable("entitlements cannot be checked at the moment")
                    .because(anyhow::anyhow!("{error}"))
            }),
        }
    }

    /// The user's plan, if billing has named it after that time, in seconds since 1970: a newer
    /// token knows better than an older answer.
    pub(crate) async fn plan_since(&self, user_id: &str, time: u64) -> Option<String> {
        let known = self.last.get(user_id).await?;
        (known.asked_at >= time).then(|| known.plan.clone())
    }

    /// The plans that include a feature; none when billing does not say.
    pub(crate) async fn plans_with(&self, feature: &str) -> Vec<String> {
        let Ok(plans) = self.catalogue.try_get_with((), self.list_plans()).await else {
            return Vec::new();
        };
        let including = plans.iter().filter(|(_, features)| features.iter().any(|f| f == feature));
        including.map(|(plan, _)| plan.clone()).collect()
    }

    async fn ask(&self, user_id: &str) -> Result<Arc<Known>> {
        let request = GetUserEntitlementsRequest { user_id: user_id.to_owned() };
        let answer = self.billing.get_user_entitlements(request).await?;
        let asked_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let known = Known { plan: answer.plan, features: answer.features, asked_at };
        let known = Arc::new(known);
        self.last.insert(user_id.to_owned(), Arc::clone(&known)).await;
        Ok(known)
    }

    async fn list_plans(&self) -> Result<Catalogue> {
        let answer = self.billing.list_plans(ListPlansRequest::default()).await?;
        Ok(Arc::new(answer.plans.into_iter().map(|plan| (plan.id, plan.features)).collect()))
    }
}
