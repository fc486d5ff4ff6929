//! What users' plans include, in the memory that all processes share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::{Cmd, cmd};
use serde::{Deserialize, Serialize};

use super::known::{Answer, seconds_now};
use crate::kernel::policy::Plan;
use crate::kernel::redis::Redis;

/// What the fallbacks are counted under.
const PURPOSE: &str = "entitlements";

/// Where the plans and what they include are kept.
const PLANS: &str = "entitlements:plans";

/// The last answers of billing, by whomever they were asked for.
pub(super) struct SharedEntitlements {
    redis: Redis,
}

/// An answer as it is written.
#[derive(Serialize, Deserialize)]
struct Row {
    plan: String,
    features: Vec<String>,
    asked_at: u64,
}

impl SharedEntitlements {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// The last answer about a user that is not older than `kept`.
    pub(super) async fn last(&self, user_id: &str, kept: Duration) -> Option<Answer> {
        let row: Row = self.read(&self.user_key(user_id)).await?;
        // Expired by the clock of Redis; this is for one that keeps what has expired.
        let age = Duration::from_secs(seconds_now().saturating_sub(row.asked_at));
        let heard = Instant::now().checked_sub(age)?;
        let plan = Arc::new(Plan { id: row.plan, features: row.features });
        (age <= kept).then_some(Answer { plan, heard, heard_at: row.asked_at })
    }

    /// Keeps an answer, in the background.
    pub(super) fn keep(&self, user_id: &str, answer: &Answer, kept: Duration) {
        let Plan { id, features } = (*answer.plan).clone();
        let row = Row { plan: id, features, asked_at: answer.heard_at };
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
