//! What users' plans include: asked of billing, remembered for a moment.
//!
//! An answer is taken for current for about a second, so that a change of plan shows within two.
//! While billing is away the last answer holds for some minutes; without one nothing can be said.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use moka::future::Cache;

use super::BillingClient;
use super::proto::{GetUserEntitlementsRequest, ListPlansRequest};
use crate::kernel::error::{Error, Result};
use crate::kernel::policy::{Entitlements, Plan};

/// How long an answer is current unless stated otherwise.
const FRESH: Duration = Duration::from_secs(1);

/// How long an answer holds while billing is away, unless stated otherwise.
const KEPT: Duration = Duration::from_secs(300);

/// How many users are remembered.
const MOST_USERS: u64 = 100_000;

/// How long the catalogue of plans is taken for current.
const CATALOGUE_FRESH: Duration = Duration::from_secs(60);

/// Entitlements by asking billing.
pub struct RemoteEntitlements {
    billing: Arc<dyn BillingClient>,
    fresh: Cache<String, Answer>,
    last: Cache<String, Answer>,
    catalogue: Cache<(), Arc<Vec<Plan>>>,
}

#[derive(Clone)]
struct Answer {
    plan: Arc<Plan>,
    /// When billing said so, in seconds since 1970.
    asked_at: u64,
}

impl RemoteEntitlements {
    /// Entitlements over a client of billing: current for a second, kept for five minutes.
    pub fn new(billing: impl BillingClient + 'static) -> Self {
        Self::with_times(billing, FRESH, KEPT)
    }

    /// As [`RemoteEntitlements::new`]; an answer is current for `fresh` and used for `kept` at most.
    pub fn with_times(
        billing: impl BillingClient + 'static,
        fresh: Duration,
        kept: Duration,
    ) -> Self {
        Self {
            billing: Arc::new(billing),
            fresh: Cache::builder().max_capacity(MOST_USERS).time_to_live(fresh).build(),
            last: Cache::builder().max_capacity(MOST_USERS).time_to_live(kept).build(),
            catalogue: Cache::builder().time_to_live(CATALOGUE_FRESH).build(),
        }
    }

    /// The id of the user's plan, if billing has named it after that time, in seconds since 1970: a
    /// newer token knows better than an older answer.
    pub async fn plan_since(&self, user_id: &str, time: u64) -> Option<String> {
        let known = self.last.get(user_id).await?;
        (known.asked_at >= time).then(|| known.plan.id.clone())
    }

    async fn ask(&self, user_id: &str) -> Result<Answer> {
        let request = GetUserEntitlementsRequest { user_id: user_id.to_owned() };
        let answer = self.billing.get_user_entitlements(request).await?;
        let asked_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let plan = Arc::new(Plan { id: answer.plan, features: answer.features });
        let answer = Answer { plan, asked_at };
        self.last.insert(user_id.to_owned(), answer.clone()).await;
        Ok(answer)
    }

    async fn list_plans(&self) -> Result<Arc<Vec<Plan>>> {
        let answer = self.billing.list_plans(ListPlansRequest::default()).await?;
        let plan = |plan: super::proto::Plan| Plan { id: plan.id, features: plan.features };
        Ok(Arc::new(answer.plans.into_iter().map(plan).collect()))
    }
}

#[async_trait]
impl Entitlements for RemoteEntitlements {
    async fn plan_of(&self, user_id: &str) -> Result<Arc<Plan>> {
        match self.fresh.try_get_with_by_ref(user_id, self.ask(user_id)).await {
            Ok(answer) => Ok(answer.plan),
            Err(error) => self.last.get(user_id).await.map(|last| last.plan).ok_or_else(|| {
                Error::unavailable("entitlements cannot be checked at the moment")
                    .because(anyhow::anyhow!("{error}"))
            }),
        }
    }

    async fn plans_with(&self, feature: &str) -> Vec<String> {
        let Ok(plans) = self.catalogue.try_get_with((), self.list_plans()).await else {
            return Vec::new();
        };
        let including = plans.iter().filter(|plan| plan.features.iter().any(|f| f == feature));
        including.map(|plan| plan.id.clone()).collect()
    }
}
