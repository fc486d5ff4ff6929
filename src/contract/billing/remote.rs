//! What users' plans include, known to every process without asking for each call.
//!
//! Three things tell it, and none of them is waited for while a call is served:
//!
//! 1. **Billing tells who changed plans**, by a stream; with it a change shows at once. A process
//!    that has just started hears the changes of the last quarter of an hour.
//! 2. **The access token names the plan.** It is at most as old as a token lives, and a change since
//!    was heard by the stream; so it is believed of a user of whom nothing else is known, while
//!    billing is heard of.
//! 3. **Billing is asked in the background** about whoever makes calls, once a minute, so that what
//!    stream and token might have missed does not last.
//!
//! A call waits for billing in one case: the user is not known, here or in Redis, and neither is the
//! plan of the token, because nothing was heard of billing yet. While billing is away the last that is
//! known holds for some minutes; after that, or without anything, nothing can be said. Where there is
//! Redis, the last answers are everybody's, also those of a process that has just started.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;

use super::BillingClient;
use super::known::{Known, Times};
use super::proto::{WatchPlansRequest, WatchPlansResponse};
use crate::contract::client::elapsed;
use crate::kernel::call::User;
use crate::kernel::error::{Error, Result};
use crate::kernel::policy::{Entitlements, Plan};
use crate::kernel::redis::Redis;
use crate::kernel::telemetry::{CacheMetrics, Metrics};
use crate::kernel::watch::{Following, Heard, Messages, Watched};

/// How old what is known of a user may be before billing is asked, unless stated otherwise.
const FRESH: Duration = Duration::from_secs(60);

/// The same while billing's stream is silent, so that a change shows within two seconds.
const FRESH_UNWATCHED: Duration = Duration::from_secs(1);

/// How long what is known holds while billing is away, unless stated otherwise.
const KEPT: Duration = Duration::from_secs(300);

/// Entitlements as billing tells them.
pub struct RemoteEntitlements {
    known: Arc<Known>,
    following: Following,
    metrics: CacheMetrics,
    times: Times,
}

impl RemoteEntitlements {
    /// Entitlements over a client of billing: confirmed once a minute, kept for five. Shared with all
    /// processes where there is Redis. Must be called within a Tokio runtime.
    pub fn new(
        billing: impl BillingClient + 'static,
        redis: Option<Redis>,
        metrics: &Metrics,
    ) -> Self {
        Self::with_times(billing, redis, metrics, FRESH, KEPT)
    }

    /// As [`RemoteEntitlements::new`]; billing is asked again, in the background, about what is older
    /// than `fresh`, and nothing older than `kept` is used.
    pub fn with_times(
        billing: impl BillingClient + 'static,
        redis: Option<Redis>,
        metrics: &Metrics,
        fresh: Duration,
        kept: Duration,
    ) -> Self {
        let (billing, times) = (Arc::new(billing), Times { fresh, kept });
        let known = Arc::new(Known::new(billing.clone(), redis, times));
        let of_cache = metrics.cache("entitlements");
        let changes = Changes { billing, known: Arc::clone(&known), metrics: of_cache.clone() };
        let following = Following::begin("entitlements", changes, metrics);
        Self { known, following, metrics: of_cache, times }
    }

    /// The id of the user's plan, if it was heard of after that time, in seconds since 1970: a newer
    /// token knows better than what was heard before.
    pub async fn plan_since(&self, user_id: &str, time: u64) -> Option<String> {
        let known = self.known.of(user_id, true).await?;
        (known.heard_at >= time).then(|| known.plan.id.clone())
    }

    /// How old what is known may be for nobody to be asked.
    fn fresh(&self) -> Duration {
        match self.following.current() {
            Some(_) => self.times.fresh,
            None => self.times.fresh.min(FRESH_UNWATCHED),
        }
    }

    /// The plan that the user's token or the gateway names, while billing is heard of: who hears of
    /// no changes cannot know that it is out of date.
    fn stated(&self, user: &User) -> Option<Arc<Plan>> {
        self.billing_is_heard_of().then(|| self.known.plan(&user.plan)).flatten()
    }

    /// Whether billing has told lately whatever there was to tell.
    fn billing_is_heard_of(&self) -> bool {
        self.following.within(self.times.kept).is_some()
    }
}

#[async_trait]
impl Entitlements for RemoteEntitlements {
    async fn plan_of(&self, user: &User) -> Result<Arc<Plan>> {
        if let Some(known) = self.known.of(&user.id, self.billing_is_heard_of()).await {
            self.metrics.hit();
            if self.known.is_doubtful(&known, self.fresh()) {
                Known::confirm(&self.known, &user.id).await;
            }
            return Ok(known.plan);
        }
        if let Some(plan) = self.stated(user) {
            self.metrics.hit();
            Known::confirm(&self.known, &user.id).await;
            return Ok(plan);
        }
        self.metrics.miss();
        let known = self.known.ask(&user.id).await.map_err(|error| {
            Error::unavailable("entitlements cannot be checked at the moment").because(error)
        })?;
        // What another process was told may be some minutes old.
        if self.known.is_doubtful(&known, self.fresh()) {
            Known::confirm(&self.known, &user.id).await;
        }
        Ok(known.plan)
    }

    async fn plans_with(&self, feature: &str) -> Vec<String> {
        let Some(plans) = Known::catalogue(&self.known).await else { return Vec::new() };
        let including = plans.iter().filter(|plan| plan.features.iter().any(|f| f == feature));
        including.map(|plan| plan.id.clone()).collect()
    }
}

/// Hears who changed plans, and takes it in.
struct Changes {
    billing: Arc<dyn BillingClient>,
    known: Arc<Known>,
    metrics: CacheMetrics,
}

#[async_trait]
impl Watched for Changes {
    type Content = WatchPlansResponse;

    async fn open(&self, after_revision: i64) -> Result<Messages<WatchPlansResponse>> {
        let messages = self.billing.watch_plans(WatchPlansRequest { after_revision }).await?;
        Ok(messages.map(|message| message.map(heard)).boxed())
    }

    async fn take(&self, _: i64, heard: Heard<WatchPlansResponse>) {
        let WatchPlansResponse { changes, incomplete, catalogue, .. } = heard.content;
        for change in changes {
            let plan = Plan { id: change.plan, features: change.features };
            self.known.told(change.user_id, plan).await;
            self.metrics.drop_all();
        }
        if incomplete {
            self.known.doubt_all();
        }
        Known::catalogue_is(&self.known, &catalogue).await;
    }
}

fn heard(message: WatchPlansResponse) -> Heard<WatchPlansResponse> {
    let (revision, elapsed) = (message.revision, elapsed(message.elapsed));
    Heard { revision, elapsed, content: message }
}
