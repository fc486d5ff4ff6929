//! What users' plans include: asked of billing, remembered for a moment.
//!
//! An answer is taken for current for about a second, so that a change of plan shows within two.
//! While billing is away the last answer holds for some minutes; without one nothing can be said.
//! Where there is Redis, the last answers are everybody's, also those of a process that has just
//! started, and a change of plan shows at once.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use moka::future::Cache;

use super::BillingClient;
use super::proto::{GetUserEntitlementsRequest, ListPlansRequest};
use super::shared::SharedEntitlements;
use crate::kernel::error::{Error, Result};
use crate::kernel::policy::{Entitlements, Plan};
use crate::kernel::redis::Redis;

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
    shared: Option<SharedEntitlements>,
    kept: Duration,
}

/// What billing said about a user.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) plan: Arc<Plan>,
    /// When billing said so, in seconds since 1970.
    pub(super) asked_at: u64,
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
            shared: None,
            kept,
        }
    }

    /// Shares what is known with all processes, where there is Redis, and hears at once when a
    /// user's plan has changed.
    pub fn shared(mut self, redis: Option<Redis>) -> Self {
        self.shared = redis.map(|redis| SharedEntitlements::new(redis, self.fresh.clone()));
        self
    }

    /// The id of the user's plan, if billing has named it after that time, in seconds since 1970: a
    /// newer token knows better than an older answer.
    pub async fn plan_since(&self, user_id: &str, time: u64) -> Option<String> {
        let known = self.last.get(user_id).await?;
        (known.asked_at >= time).then(|| known.plan.id.clone())
    }

    /// What is current: billing's answer, or while it is away the last one anybody had.
    async fn current(&self, user_id: &str) -> Result<Answer> {
        let error = match self.ask(user_id).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if let Some(last) = self.last.get(user_id).await {
            return Ok(last);
        }
        match &self.shared {
            Some(shared) => shared.last(user_id, self.kept).await.ok_or(error),
            None => Err(error),
        }
    }

    async fn ask(&self, user_id: &str) -> Result<Answer> {
        let request = GetUserEntitlementsRequest { user_id: user_id.to_owned() };
        let answer = self.billing.get_user_entitlements(request).await?;
        let plan = Arc::new(Plan { id: answer.plan, features: answer.features });
        let answer = Answer { plan, asked_at: seconds_now() };
        self.last.insert(user_id.to_owned(), answer.clone()).await;
        if let Some(shared) = &self.shared {
            shared.keep(user_id, &answer, self.kept);
        }
        Ok(answer)
    }

    async fn plans(&self) -> Result<Arc<Vec<Plan>>> {
        if let Some(shared) = &self.shared
            && let Some(plans) = shared.plans().await
        {
            return Ok(Arc::new(plans));
        }
        let plans = self.list_plans().await?;
        if let Some(shared) = &self.shared {
            shared.keep_plans(&plans, CATALOGUE_FRESH);
        }
        Ok(plans)
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
        match self.fresh.try_get_with_by_ref(user_id, self.current(user_id)).await {
            Ok(answer) => Ok(answer.plan),
            Err(error) => Err(Error::unavailable("entitlements cannot be checked at the moment")
                .because(anyhow::anyhow!("{error}"))),
        }
    }

    async fn plans_with(&self, feature: &str) -> Vec<String> {
        let Ok(plans) = self.catalogue.try_get_with((), self.plans()).await else {
            return Vec::new();
        };
        let including = plans.iter().filter(|plan| plan.features.iter().any(|f| f == feature));
        including.map(|plan| plan.id.clone()).collect()
    }
}

/// Now, in seconds since 1970.
pub(super) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
