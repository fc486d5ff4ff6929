//! What a process knows of users' plans and of the plans on offer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::BillingClient;
use super::proto::{GetUserEntitlementsRequest, ListPlansRequest};
use super::shared::SharedEntitlements;
use crate::kernel::error::{Error, Result};
use crate::kernel::policy::Plan;
use crate::kernel::redis::Redis;

/// How many users are remembered.
const MOST_USERS: u64 = 100_000;

/// How long what was told of a user is remembered at least: longer than an access token lives, for one
/// that was issued before names the plan before.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// How old the plans on offer may be before they are asked for again.
pub(super) const CATALOGUE_FRESH: Duration = Duration::from_secs(60);

/// How long nobody asks again what was just asked.
const PAUSE: Duration = Duration::from_secs(1);

/// How many questions may be under way in the background.
const MOST_QUESTIONS: usize = 32;

/// Under which name the plans on offer are asked for; no user has it.
const CATALOGUE: &str = "catalogue";

/// How long what is known is fresh, and how long it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) fresh: Duration,
    pub(super) kept: Duration,
}

/// What is known of a user.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) plan: Arc<Plan>,
    /// When billing was asked, or had told.
    pub(super) heard: Instant,
    /// The same in seconds since 1970.
    pub(super) heard_at: u64,
}

/// The plans on offer.
struct Catalogue {
    plans: Vec<Arc<Plan>>,
    heard: Instant,
    /// What stood for them when they were asked for; empty if nobody had said.
    fingerprint: String,
}

/// Users and plans.
pub(super) struct Known {
    billing: Arc<dyn BillingClient>,
    users: Cache<String, Answer>,
    /// Questions of the last moment, so that many ask once.
    questions: Cache<String, Answer>,
    /// The same of the plans on offer.
    catalogues: Cache<(), Vec<Arc<Plan>>>,
    /// What was asked in the background in the last moment.
    asked: Cache<String, ()>,
    slots: Arc<Semaphore>,
    catalogue: ArcSwapOption<Catalogue>,
    /// What was heard before is to be confirmed.
    doubted: ArcSwap<Instant>,
    shared: Option<SharedEntitlements>,
    kept: Duration,
}

impl Answer {
    fn now(plan: Plan, heard: Instant) -> Self {
        Self { plan: Arc::new(plan), heard, heard_at: seconds_now() }
    }
}

impl Known {
    pub(super) fn new(billing: Arc<dyn BillingClient>, redis: Option<Redis>, times: Times) -> Self {
        let cache = || Cache::builder().max_capacity(MOST_USERS);
        Self {
            billing,
            users: cache().time_to_live(times.kept.max(MEMORY)).build(),
            questions: cache().time_to_live(PAUSE).build(),
            catalogues: Cache::builder().max_capacity(1).time_to_live(PAUSE).build(),
            asked: Cache::builder().max_capacity(MOST_USERS).time_to_live(PAUSE).build(),
            slots: Arc::new(Semaphore::new(MOST_QUESTIONS)),
            catalogue: ArcSwapOption::empty(),
            doubted: ArcSwap::from_pointee(Instant::now()),
            shared: redis.map(SharedEntitlements::new),
            kept: times.kept,
        }
    }

    /// What is known of a user. While billing is heard of it would have told of a change; else
    /// nothing is used that is older than it may be.
    pub(super) async fn of(&self, user_id: &str, billing_is_heard_of: bool) -> Option<Answer> {
        let known = self.users.get(user_id).await?;
        (billing_is_heard_of || known.heard.elapsed() <= self.kept).then_some(known)
    }

    /// Whether what is known of a user should be confirmed.
    pub(super) fn is_doubtful(&self, known: &Answer, fresh: Duration) -> bool {
        known.heard < **self.doubted.load() || known.heard.elapsed() > fresh
    }

    /// Has everything confirmed that is used.
    pub(super) fn doubt_all(&self) {
        self.doubted.store(Arc::new(Instant::now()));
    }

    /// Billing tells that a user is on a plan from now on.
    pub(super) async fn told(&self, user_id: String, plan: Plan) {
        self.users.insert(user_id, Answer::now(plan, Instant::now())).await;
    }

    /// The last answer that anybody had about a user, or else billing's. Many who ask at the same time
    /// ask once.
    pub(super) async fn ask(&self, user_id: &str) -> Result<Answer> {
        let answer = self.questions.try_get_with_by_ref(user_id, self.find(user_id)).await;
        answer.map_err(|error| {
            Error::unavailable("billing is away").because(anyhow::anyhow!("{error}"))
        })
    }

    /// Asks billing about a user in the background, unless that was done a moment ago or much is
    /// being asked.
    pub(super) async fn confirm(this: &Arc<Self>, user_id: &str) {
        let (known, user_id) = (Arc::clone(this), user_id.to_owned());
        this.in_background(&user_id.clone(), async move {
            if let Err(error) = known.ask_billing(&user_id).await {
                tracing::debug!(%error, "what is known of a user's plan cannot be confirmed");
            }
        })
        .await;
    }

    /// The plan on offer with this id, if the plans are known.
    pub(super) fn plan(&self, id: &str) -> Option<Arc<Plan>> {
        let catalogue = self.catalogue.load();
        catalogue.as_ref()?.plans.iter().find(|plan| plan.id == id).cloned()
    }

    /// The plans on offer; they are waited for if they are not known yet, and asked for once for all who
    /// wait. `None` if they cannot be had.
    pub(super) async fn catalogue(this: &Arc<Self>) -> Option<Vec<Arc<Plan>>> {
        if let Some(catalogue) = this.catalogue.load_full() {
            if catalogue.heard.elapsed() > CATALOGUE_FRESH {
                Self::read_catalogue(this, catalogue.fingerprint.clone(), Source::Anywhere).await;
            }
            return Some(catalogue.plans.clone());
        }
        let loaded = this.load(String::new(), Source::Anywhere);
        this.catalogues.try_get_with((), loaded).await.ok()
    }

    /// Billing tells what stands for the plans on offer: if it is new, they are asked for, and what is
    /// known of users is to be confirmed.
    pub(super) async fn catalogue_is(this: &Arc<Self>, fingerprint: &str) {
        let before = this.catalogue.load_full();
        if before.as_ref().is_some_and(|before| before.fingerprint == fingerprint) {
            return;
        }
        if before.is_some_and(|before| !before.fingerprint.is_empty()) {
            this.doubt_all();
        }
        Self::read_catalogue(this, fingerprint.to_owned(), Source::Billing).await;
    }

    async fn read_catalogue(this: &Arc<Self>, fingerprint: String, source: Source) {
        let known = Arc::clone(this);
        this.in_background(CATALOGUE, async move {
            if let Err(error) = known.load(fingerprint, source).await {
                tracing::debug!(%error, "the plans on offer cannot be asked for");
            }
        })
        .await;
    }

    async fn in_background(&self, about: &str, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        if self.asked.entry_by_ref(about).or_insert(()).await.is_fresh() {
            tokio::spawn(async move {
                work.await;
                drop(slot);
            });
        }
    }

    async fn find(&self, user_id: &str) -> Result<Answer> {
        let last = match &self.shared {
            Some(shared) => shared.last(user_id, self.kept).await,
            None => None,
        };
        match last {
            Some(last) => Ok(self.keep(user_id, last).await),
            None => self.ask_billing(user_id).await,
        }
    }

    async fn ask_billing(&self, user_id: &str) -> Result<Answer> {
        let begun = Instant::now();
        let request = GetUserEntitlementsRequest { user_id: user_id.to_owned() };
        let told = self.billing.get_user_entitlements(request).await?;
        let plan = Plan { id: told.plan, features: told.features };
        let answer = self.keep(user_id, Answer::now(plan, begun)).await;
        if let Some(shared) = &self.shared {
            shared.keep(user_id, &answer, self.kept);
        }
        Ok(answer)
    }

    /// Keeps an answer, unless something was told after the question had been asked: the answer may
    /// be of before.
    async fn keep(&self, user_id: &str, answer: Answer) -> Answer {
        let newer = |known: Option<moka::Entry<String, Answer>>| {
            let known = known.map(moka::Entry::into_value);
            std::future::ready(known.filter(|known| known.heard > answer.heard).unwrap_or(answer))
        };
        self.users.entry_by_ref(user_id).and_upsert_with(newer).await.into_value()
    }

    async fn load(&self, fingerprint: String, source: Source) -> Result<Vec<Arc<Plan>>> {
        let heard = Instant::now();
        let shared = match (&self.shared, source) {
            (Some(shared), Source::Anywhere) => shared.plans().await,
            _ => None,
        };
        let plans = match shared {
            Some(plans) => plans,
            None => self.list_plans().await?,
        };
        let plans: Vec<_> = plans.into_iter().map(Arc::new).collect();
        let catalogue = Catalogue { plans: plans.clone(), heard, fingerprint };
        self.catalogue.store(Some(Arc::new(catalogue)));
        Ok(plans)
    }

    async fn list_plans(&self) -> Result<Vec<Plan>> {
        let answer = self.billing.list_plans(ListPlansRequest::default()).await?;
        let plan = |plan: super::proto::Plan| Plan { id: plan.id, features: plan.features };
        let plans: Vec<_> = answer.plans.into_iter().map(plan).collect();
        if let Some(shared) = &self.shared {
            shared.keep_plans(&plans, CATALOGUE_FRESH);
        }
        Ok(plans)
    }
}

/// Where the plans on offer are taken from.
#[derive(Clone, Copy)]
enum Source {
    /// From the shared memory, if they are there.
    Anywhere,
    /// From billing, for they have changed.
    Billing,
}

/// Now, in seconds since 1970.
pub(super) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
