//! Whether the caller's plan includes what a method needs.

use std::sync::Arc;

use async_trait::async_trait;

use super::MethodPolicy;
use super::authorize::is_service;
use crate::kernel::call::{Call, User};
use crate::kernel::error::{Error, FEATURE_NOT_INCLUDED, Result};

/// A plan and what it includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Id of the plan, such as `paid`.
    pub id: String,
    /// The features it includes.
    pub features: Vec<String>,
}

/// Knows what users' plans include.
#[async_trait]
pub trait Entitlements: Send + Sync {
    /// The plan of a user, who states one by an access token or the gateway's word.
    /// `UNAVAILABLE` when it is not known.
    async fn plan_of(&self, user: &User) -> Result<Arc<Plan>>;

    /// Ids of the plans that include a feature; none when that is not known.
    async fn plans_with(&self, feature: &str) -> Vec<String>;
}

impl MethodPolicy {
    /// Whether the caller's plan includes the feature that the method states, if it states one:
    /// `FEATURE_NOT_INCLUDED` names the feature and the plans that have it. A service that calls for
    /// itself has no plan and needs none.
    pub async fn entitle(
        &self,
        call: &Call,
        entitlements: Option<&dyn Entitlements>,
    ) -> Result<()> {
        let Some(feature) = &self.feature else { return Ok(()) };
        if call.user.is_none() && is_service(&call.peer) {
            return Ok(());
        }
        let entitlements = entitlements.ok_or_else(|| {
            Error::internal(anyhow::anyhow!("{} needs entitlements", self.full_name))
        })?;
        let plan = entitlements.plan_of(call.require_user()?).await?;
        if plan.features.contains(feature) {
            return Ok(());
        }
        let plans = entitlements.plans_with(feature).await;
        let message = format!("the plan {} does not include {feature}", plan.id);
        Err(Error::new(FEATURE_NOT_INCLUDED, message)
            .detail("feature", feature)
            .detail("plan", &plan.id)
            .detail("plans", plans.join(", ")))
    }
}
