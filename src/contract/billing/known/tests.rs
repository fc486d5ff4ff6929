//! How often billing is asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::join_all;

use super::*;
use crate::contract::billing::proto;
use crate::contract::client::Messages;

/// A billing that takes its time, and counts.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicUsize>);

impl Slow {
    async fn is_asked(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn known(&self) -> Arc<Known> {
        let long = Duration::from_secs(60);
        Arc::new(Known::new(Arc::new(self.clone()), None, Times { fresh: long, kept: long }))
    }
}

macro_rules! of_plans_alone {
    ($($method:ident($request:ident) -> $reply:ident;)*) => {
        #[async_trait]
        impl BillingClient for Slow {
            async fn list_plans(&self, _: ListPlansRequest) -> Result<proto::ListPlansResponse> {
                self.is_asked().await;
                let plan = proto::Plan { id: "ai".into(), ..proto::Plan::default() };
                Ok(proto::ListPlansResponse { plans: vec![plan], ..Default::default() })
            }

            async fn get_user_entitlements(
                &self,
                request: GetUserEntitlementsRequest,
            ) -> Result<proto::Entitlements> {
                self.is_asked().await;
                let (user_id, plan) = (request.user_id, "ai".into());
                Ok(proto::Entitlements { user_id, plan, ..Default::default() })
            }

            async fn watch_plans(
                &self,
                _: proto::WatchPlansRequest,
            ) -> Result<Messages<proto::WatchPlansResponse>> {
                Err(Error::unavailable("not in this story"))
            }

            $(
                async fn $method(&self, _: proto::$request) -> Result<proto::$reply> {
                    Err(Error::unavailable("not in this story"))
                }
            )*
        }
    };
}

of_plans_alone! {
    get_subscription(GetSubscriptionRequest) -> Subscription;
    create_subscription(CreateSubscriptionRequest) -> Subscription;
    update_subscription(UpdateSubscriptionRequest) -> Subscription;
    cancel_subscription(CancelSubscriptionRequest) -> Subscription;
    get_entitlements(GetEntitlementsRequest) -> Entitlements;
    receive_webhook(ReceiveWebhookRequest) -> ReceiveWebhookResponse;
}

#[tokio::test]
async fn many_who_wait_for_billing_ask_it_once() {
    let billing = Slow::default();
    let known = billing.known();
    let answers = join_all((0..20).map(|_| known.ask("ada"))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|told| told.plan.id == "ai")));
    assert_eq!(billing.0.load(Ordering::SeqCst), 1);

    let plans = join_all((0..20).map(|_| Known::catalogue(&known))).await;
    assert!(plans.iter().all(|plans| plans.as_ref().is_some_and(|plans| plans.len() == 1)));
    assert_eq!(billing.0.load(Ordering::SeqCst), 2, "once about the user, once about the plans");
}
