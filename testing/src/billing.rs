//! A stand-in for billing that knows plans and who is on which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use mainstay::contract::{self, billing};
use mainstay::kernel::lifecycle::{Module, Running};
use tonic::{Request, Response, Status};

use crate::authz::NoSettings;
use crate::mesh::TestMesh;
use billing::proto;
use billing::proto::billing_service_server::{BillingService, BillingServiceServer};

/// Answers what users' plans include as `billing-svc`, and nothing else.
#[derive(Clone, Debug)]
pub struct FakeBilling {
    catalogue: Arc<Vec<proto::Plan>>,
    plans: Arc<Mutex<HashMap<String, String>>>,
}

impl FakeBilling {
    /// With plans and the features they include; users are on the first one.
    pub fn new(catalogue: &[(&str, &[&str])]) -> Self {
        let plan = |(id, features): &(&str, &[&str])| proto::Plan {
            id: (*id).into(),
            features: features.iter().map(|feature| (*feature).into()).collect(),
            ..proto::Plan::default()
        };
        Self { catalogue: Arc::new(catalogue.iter().map(plan).collect()), plans: Arc::default() }
    }

    /// Puts a user on a plan.
    pub fn subscribe(&self, user_id: &str, plan: &str) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert(user_id.to_owned(), plan.to_owned());
    }

    /// Starts it in a mesh.
    pub async fn start(&self, mesh: &TestMesh) -> Running {
        let fake = self.clone();
        mesh.start(billing::SERVICE, NoSettings {}, async move |_| {
            Ok(Module::new(contract::DESCRIPTORS).grpc(BillingServiceServer::new(fake)))
        })
        .await
    }

    fn plan_of(&self, user_id: &str) -> proto::Plan {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let id = plans.get(user_id);
        let found = self.catalogue.iter().find(|plan| Some(&plan.id) == id);
        found.or(self.catalogue.first()).cloned().unwrap_or_default()
    }
}

/// Implements the service with plans alone; every other method is unimplemented.
macro_rules! plans_only {
    ($( $method:ident($request:ident) -> $reply:ident; )*) => {
        #[async_trait]
        impl BillingService for FakeBilling {
            async fn get_user_entitlements(
                &self,
                request: Request<proto::GetUserEntitlementsRequest>,
            ) -> Result<Response<proto::Entitlements>, Status> {
                let user_id = request.into_inner().user_id;
                let proto::Plan { id: plan, features, .. } = self.plan_of(&user_id);
                Ok(Response::new(proto::Entitlements { user_id, plan, features }))
            }

            async fn list_plans(
                &self,
                _: Request<proto::ListPlansRequest>,
            ) -> Result<Response<proto::ListPlansResponse>, Status> {
                let plans = self.catalogue.to_vec();
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
