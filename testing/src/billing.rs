//! A stand-in for billing that knows plans and who is on which.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mainstay::contract::{self, billing};
use mainstay::kernel::lifecycle::{Module, Platform, Running};
use mainstay::kernel::watch::{Feed, FeedSource, MessageStream};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

use crate::authz::NoSettings;
use crate::mesh::TestMesh;
use billing::proto;
use billing::proto::billing_service_server::{BillingService, BillingServiceServer};

/// Answers what users' plans include as `billing-svc`, tells who changed plans, and nothing else.
#[derive(Clone, Debug)]
pub struct FakeBilling {
    catalogue: Arc<Vec<proto::Plan>>,
    plans: Arc<Mutex<Plans>>,
    changed: Arc<Notify>,
    /// Whether questions about users are refused, as by a billing that has too much to do.
    refuses: Arc<AtomicBool>,
    /// Whether it tells that users changed plans and not which, as who was away for long hears it.
    forgets: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    /// Whether questions get no answer at all.
    is_silent: Arc<AtomicBool>,
}

/// Who is on which plan.
#[derive(Clone, Debug, Default)]
struct Plans {
    of_users: HashMap<String, String>,
    /// Who changed plans, in order: the first has the revision 2.
    changes: Vec<String>,
}

/// The revision before the first change.
const FIRST_REVISION: i64 = 1;

impl FakeBilling {
    /// With plans and the features they include; users are on the first one.
    pub fn new(catalogue: &[(&str, &[&str])]) -> Self {
        let plan = |(id, features): &(&str, &[&str])| proto::Plan {
            id: (*id).into(),
            features: features.iter().map(|feature| (*feature).into()).collect(),
            ..proto::Plan::default()
        };
        Self {
            catalogue: Arc::new(catalogue.iter().map(plan).collect()),
            plans: Arc::default(),
            changed: Arc::default(),
            refuses: Arc::default(),
            forgets: Arc::default(),
            asked: Arc::default(),
            is_silent: Arc::default(),
        }
    }

    /// Puts a user on a plan, and tells those who watch.
    pub fn subscribe(&self, user_id: &str, plan: &str) {
        let mut plans = self.plans();
        plans.of_users.insert(user_id.to_owned(), plan.to_owned());
        plans.changes.push(user_id.to_owned());
        self.changed.notify_one();
    }

    /// Whether it refuses questions about users, though it tells who changed plans.
    pub fn refuse_questions(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Whether it tells that users changed plans and not which.
    pub fn forget_changes(&self, forgets: bool) {
        self.forgets.store(forgets, Ordering::SeqCst);
    }

    /// Whether it answers no questions, though it tells who changed plans.
    pub fn leave_questions(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// How many questions about users it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Starts it in a mesh.
    pub async fn start(&self, mesh: &TestMesh) -> Running {
        let fake = self.clone();
        mesh.start(billing::SERVICE, NoSettings {}, async move |platform: Platform<NoSettings>| {
            let feed = Feed::start(Changes(fake.clone()), platform.draining());
            let served = BillingServiceServer::new(Served { fake, feed });
            Ok(Module::new(contract::DESCRIPTORS).grpc(served))
        })
        .await
    }

    async fn answers(&self) {
        if self.is_silent.load(Ordering::SeqCst) {
            std::future::pending().await
        }
    }

    fn plan_of(&self, user_id: &str) -> proto::Plan {
        let plans = self.plans();
        let id = plans.of_users.get(user_id);
        let found = self.catalogue.iter().find(|plan| Some(&plan.id) == id);
        found.or(self.catalogue.first()).cloned().unwrap_or_default()
    }

    fn plans(&self) -> MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told of the changes after a revision.
    fn told(&self, after: i64, changes: &[String], elapsed: Duration) -> proto::WatchPlansResponse {
        let known = usize::try_from(after - FIRST_REVISION).unwrap_or(0);
        let change = |user_id: &String| {
            let proto::Plan { id: plan, features, .. } = self.plan_of(user_id);
            proto::PlanChange { user_id: user_id.clone(), plan, features }
        };
        let news = changes.get(known..).unwrap_or_default();
        let forgotten = self.forgets.load(Ordering::SeqCst) && !news.is_empty();
        proto::WatchPlansResponse {
            revision: revision_of(changes),
            elapsed: elapsed.try_into().ok(),
            changes: news.iter().filter(|_| !forgotten).map(change).collect(),
            incomplete: forgotten,
            catalogue: "the one".into(),
        }
    }
}

fn revision_of(changes: &[String]) -> i64 {
    FIRST_REVISION + i64::try_from(changes.len()).unwrap_or_default()
}

/// What is read of the changes for those who watch them.
struct Changes(FakeBilling);

#[async_trait]
impl FeedSource for Changes {
    type State = Vec<String>;

    async fn read(&self, _: Option<&Vec<String>>) -> mainstay::kernel::Result<Vec<String>> {
        Ok(self.0.plans().changes.clone())
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

/// The stand-in at work.
struct Served {
    fake: FakeBilling,
    feed: Feed<Vec<String>>,
}

/// Implements the service with plans alone; every other method is unimplemented.
macro_rules! plans_only {
    ($( $method:ident($request:ident) -> $reply:ident; )*) => {
        #[async_trait]
        impl BillingService for Served {
            type WatchPlansStream = MessageStream<proto::WatchPlansResponse>;

            async fn watch_plans(
                &self,
                request: Request<proto::WatchPlansRequest>,
            ) -> Result<Response<Self::WatchPlansStream>, Status> {
                let (fake, mut after) = (self.fake.clone(), request.into_inner().after_revision);
                let stream = self.feed.stream(move |changes: &Vec<String>, elapsed| {
                    let told = fake.told(after, changes, elapsed);
                    after = told.revision;
                    told
                });
                Ok(Response::new(stream))
            }

            async fn get_user_entitlements(
                &self,
                request: Request<proto::GetUserEntitlementsRequest>,
            ) -> Result<Response<proto::Entitlements>, Status> {
                self.fake.asked.fetch_add(1, Ordering::SeqCst);
                self.fake.answers().await;
                if self.fake.refuses.load(Ordering::SeqCst) {
                    return Err(Status::unavailable("the stand-in for billing is busy"));
                }
                let user_id = request.into_inner().user_id;
                let proto::Plan { id: plan, features, .. } = self.fake.plan_of(&user_id);
                Ok(Response::new(proto::Entitlements { user_id, plan, features }))
            }

            async fn list_plans(
                &self,
                _: Request<proto::ListPlansRequest>,
            ) -> Result<Response<proto::ListPlansResponse>, Status> {
                self.fake.answers().await;
                let plans = self.fake.catalogue.to_vec();
                Ok(Response::new(proto::ListPlansResponse { plans, ..Default::default() }))
            }

            $(
                async fn $method(
                    &self,
                    _: Request<proto::$request>,
                ) -> Result<Response<proto::$reply>, Status> {
                    Err(Status::unimplemented("the stand-in for billing only knows plans"))
                }
            )*
        }
    };
}

plans_only! {
    get_subscription(GetSubscriptionRequest) -> Subscription;
    create_subscription(CreateSubscriptionRequest) -> Subscription;
    update_subscription(UpdateSubscriptionRequest) -> Subscription;
    cancel_subscription(CancelSubscriptionRequest) -> Subscription;
    get_entitlements(GetEntitlementsRequest) -> Entitlements;
    receive_webhook(ReceiveWebhookRequest) -> ReceiveWebhookResponse;
}
