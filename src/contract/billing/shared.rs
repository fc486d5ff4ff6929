//! What users' plans include, in the memory that all processes share.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, cmd};
use moka::future::Cache;
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use super::remote::{Answer, seconds_now};
use crate::kernel::policy::Plan;
use crate::kernel::redis::{Redis, Signal, Subscription};

/// What the fallbacks are counted under.
const PURPOSE: &str = "entitlements";

/// Where it is said that a user's plan has changed: the message is the user's id.
const CHANNEL: &str = "entitlements:changed";

/// Where the plans and what they include are kept.
const PLANS: &str = "entitlements:plans";

/// Tells every process at once that a user's plan has changed. Nobody depends on it: who does not
/// hear of it asks within a second.
#[derive(Clone, Debug)]
pub struct PlanNews {
    redis: Option<Redis>,
}

impl PlanNews {
    /// News by way of Redis; none where there is none.
    pub fn over(redis: Option<Redis>) -> Self {
        Self { redis }
    }

    /// A user's plan has changed.
    pub async fn changed(&self, user_id: &str) {
        let Some(redis) = &self.redis else { return };
        let told = redis.publish(&redis.key(CHANNEL), user_id.as_bytes()).await;
        if let Err(error) = told {
            tracing::debug!(%error, "a change of plan shows in a second, not at once");
        }
    }
}

/// The last answers of billing, by whomever they were asked for.
pub(super) struct SharedEntitlements {
    redis: Redis,
    _listener: AbortOnDropHandle<()>,
}

/// An answer as it is written.
#[derive(Serialize, Deserialize)]
struct Row {
    plan: String,
    features: Vec<String>,
    asked_at: u64,
}

impl SharedEntitlements {
    /// Forgets what is `fresh` about a user when it is told that the plan has changed.
    pub(super) fn new(redis: Redis, fresh: Cache<String, Answer>) -> Self {
        let news = redis.subscribe(&redis.key(CHANNEL));
        let listener = AbortOnDropHandle::new(tokio::spawn(listen(news, fresh)));
        Self { redis, _listener: listener }
    }

    /// The last answer about a user that is not older than `kept`.
    pub(super) async fn last(&self, user_id: &str, kept: Duration) -> Option<Answer> {
        let row: Row = self.read(&self.user_key(user_id)).await?;
        // Expired by the clock of Redis; this is for one that keeps what has expired.
        let is_old = row.asked_at.saturating_add(kept.as_secs()) < seconds_now();
        let plan = Arc::new(Plan { id: row.plan, features: row.features });
        (!is_old).then_some(Answer { plan, asked_at: row.asked_at })
    }

    /// Keeps an answer, in the background.
    pub(super) fn keep(&self, user_id: &str, answer: &Answer, kept: Duration) {
        let Plan { id, features } = (*answer.plan).clone();
        let row = Row { plan: id, features, asked_at: answer.asked_at };
        self.write(self.user_key(user_id), &row, kept);
    }

    /// The plans, if they were asked for lately.
    pub(super) async fn plans(&self) -> Option<Vec<Plan>> {
        let rows: Vec<(String, Vec<String>)> = self.read(&self.redis.key(PLANS)).await?;
        Some(rows.into_iter().map(|(id, features)| Plan { id, features }).collect())
    }

    /// Keeps the plans, in the background.
    pub(super) fn keep_plans(&self, plans: &[Plan], kept: Duration) {
        let rows: Vec<_> = plans.iter().map(|plan| (&plan.id, &plan.features)).collect();
        self.write(self.redis.key(PLANS), &rows, kept);
    }

    fn user_key(&self, user_id: &str) -> String {
        self.redis.key(format_args!("entitlements:user:{user_id}"))
    }

    async fn read<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Option<T> {
        let found: Option<Vec<u8>> = match self.redis.query(cmd("GET").arg(key)).await {
            Ok(found) => found,
            Err(_) => {
                self.redis.fell_back(PURPOSE);
                None
            }
        };
        serde_json::from_slice(&found?).ok()
    }

    fn write(&self, key: String, value: &impl Serialize, kept: Duration) {
        let Ok(value) = serde_json::to_vec(value) else { return };
        if !self.redis.is_up() {
            return self.redis.fell_back(PURPOSE);
        }
        let redis = self.redis.clone();
        let millis = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX).max(1);
        tokio::spawn(async move {
            let mut command = Cmd::new();
            command.arg("SET").arg(key).arg(value).arg("PX").arg(millis);
            if redis.query::<()>(&command).await.is_err() {
                redis.fell_back(PURPOSE);
            }
        });
    }
}

async fn listen(mut news: Subscription, fresh: Cache<String, Answer>) {
    loop {
        match news.next().await {
            Signal::Message(user_id) => fresh.invalidate(&*String::from_utf8_lossy(&user_id)).await,
            // Something may have changed about anybody.
            Signal::Missed => fresh.invalidate_all(),
        }
    }
}
