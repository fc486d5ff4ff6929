//! The RPCs.

use std::sync::Arc;

use mainstay::contract::identity::UserId;
use mainstay::contract::proto::mainstay::billing::v1 as wire;
use mainstay::contract::proto::mainstay::billing::v1::billing_service_server::BillingService;
use mainstay::kernel::page::{PageRequest, PageToken};
use mainstay::kernel::watch::{Feed, MessageStream};
use mainstay::kernel::{Error, Result, call};
use tonic::{Request, Response, Status};

use super::render;
use super::watch::Teller;
use crate::app::App;
use crate::domain::PlanNews;

/// Metadata key under which Stripe's signature arrives.
const SIGNATURE: &str = "stripe-signature";

/// The gRPC face of billing.
pub struct Billing {
    app: App,
    plans: Feed<PlanNews>,
}

impl Billing {
    pub(super) fn new(app: App, plans: Feed<PlanNews>) -> Self {
        Self { app, plans }
    }

    async fn entitlements_of(&self, user: UserId) -> Result<wire::Entitlements> {
        let (plan, features) = self.app.entitlements(user).await?;
        Ok(wire::Entitlements { user_id: user.to_string(), plan, features })
    }
}

#[tonic::async_trait]
impl BillingService for Billing {
    type WatchPlansStream = MessageStream<wire::WatchPlansResponse>;

    async fn watch_plans(
        &self,
        request: Request<wire::WatchPlansRequest>,
    ) -> Result<Response<Self::WatchPlansStream>, Status> {
        let mut teller = Teller::after(request.into_inner().after_revision);
        let catalogue = Arc::clone(&self.app.catalogue);
        let message = move |news: &PlanNews, elapsed| teller.message(news, elapsed, &catalogue);
        Ok(Response::new(self.plans.stream(message)))
    }

    async fn list_plans(
        &self,
        request: Request<wire::ListPlansRequest>,
    ) -> Result<Response<wire::ListPlansResponse>, Status> {
        let request = request.into_inner();
        let plans = self.app.plans();
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        // The catalogue is short and never changes while the process runs: its page token is a
        // position in it.
        let start: usize = match &page.after {
            None => 0,
            Some(token) => token.column(0)?,
        };
        let rest: Vec<_> = plans.iter().enumerate().skip(start).collect();
        let (plans, next_page_token) =
            page.cut(rest, |(position, _)| PageToken::new([(position + 1).to_string()]));
        let plans = plans.into_iter().map(|(_, plan)| render::plan(plan)).collect();
        Ok(Response::new(wire::ListPlansResponse { plans, next_page_token }))
    }

    async fn get_subscription(
        &self,
        _request: Request<wire::GetSubscriptionRequest>,
    ) -> Result<Response<wire::Subscription>, Status> {
        let subscription = self.app.subscription_get(calling_user()?).await?;
        Ok(Response::new(render::subscription(subscription)))
    }

    async fn create_subscription(
        &self,
        request: Request<wire::CreateSubscriptionRequest>,
    ) -> Result<Response<wire::Subscription>, Status> {
        let plan = request.into_inner().plan;
        let subscription = self.app.subscription_create(calling_user()?, &plan).await?;
        Ok(Response::new(render::subscription(subscription)))
    }

    async fn update_subscription(
        &self,
        request: Request<wire::UpdateSubscriptionRequest>,
    ) -> Result<Response<wire::Subscription>, Status> {
        let plan = request.into_inner().plan;
        let subscription = self.app.subscription_update(calling_user()?, &plan).await?;
        Ok(Response::new(render::subscription(subscription)))
    }

    async fn cancel_subscription(
        &self,
        _request: Request<wire::CancelSubscriptionRequest>,
    ) -> Result<Response<wire::Subscription>, Status> {
        let subscription = self.app.subscription_cancel(calling_user()?).await?;
        Ok(Response::new(render::subscription(subscription)))
    }

    async fn get_entitlements(
        &self,
        _request: Request<wire::GetEntitlementsRequest>,
    ) -> Result<Response<wire::Entitlements>, Status> {
        Ok(Response::new(self.entitlements_of(calling_user()?).await?))
    }

    async fn receive_webhook(
        &self,
        request: Request<wire::ReceiveWebhookRequest>,
    ) -> Result<Response<wire::ReceiveWebhookResponse>, Status> {
        let signature = request
            .metadata()
            .get(SIGNATURE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let payload = request.into_inner().body.unwrap_or_default().data;
        let applied = self.app.report_receive(&payload, &signature).await?;
        Ok(Response::new(wire::ReceiveWebhookResponse { applied }))
    }

    async fn get_user_entitlements(
        &self,
        request: Request<wire::GetUserEntitlementsRequest>,
    ) -> Result<Response<wire::Entitlements>, Status> {
        let user = UserId::parse(&request.into_inner().user_id)
            .map_err(|_| Error::invalid("user_id", "must be a UUID"))?;
        Ok(Response::new(self.entitlements_of(user).await?))
    }
}

fn calling_user() -> Result<UserId> {
    UserId::parse(&call::current_user()?.id)
}
