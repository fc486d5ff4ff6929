//! Billing in process, and ways to call it.

use std::sync::Arc;

use billing_svc::config::Config;
use mainstay::contract::billing::{BillingClient, GrpcBillingClient, SERVICE, proto};
use mainstay::contract::identity::UserId;
use mainstay::kernel::lifecycle::Running;
use mainstay::kernel::settings::{ChannelSettings, Transport};
use mainstay_testing::{TestMesh, as_user};

/// Both transports: every story of the client trait holds on each.
pub(crate) const TRANSPORTS: [Transport; 2] = [Transport::Grpc, Transport::GrpcWeb];

/// Billing, running, with its mesh around it.
pub(crate) struct Billing {
    pub(crate) mesh: TestMesh,
    pub(crate) running: Running,
    pub(crate) client: Arc<dyn BillingClient>,
    transport: Transport,
}

impl Billing {
    pub(crate) async fn start(config: Config, transport: Transport) -> Self {
        let mesh = TestMesh::new();
        Self::start_in(mesh, config, transport).await
    }

    pub(crate) async fn start_in(mesh: TestMesh, config: Config, transport: Transport) -> Self {
        let running = mesh.start(SERVICE, config, billing_svc::module).await;
        let settings = ChannelSettings { transport, ..ChannelSettings::default() };
        let channel = mesh.channel_with("gateway", SERVICE, &settings);
        Self { mesh, running, client: Arc::new(GrpcBillingClient::new(channel)), transport }
    }

    /// Stops it and starts it again on the same data.
    pub(crate) async fn restart(self, config: Config) -> Self {
        let Self { mesh, running, transport, .. } = self;
        running.drain().await;
        Self::start_in(mesh, config, transport).await
    }

    pub(crate) async fn subscribe(
        &self,
        user: UserId,
        plan: &str,
    ) -> mainstay::kernel::Result<proto::Subscription> {
        let request = proto::CreateSubscriptionRequest { plan: plan.into() };
        as_user(&user.to_string(), self.client.create_subscription(request)).await
    }

    pub(crate) async fn change(
        &self,
        user: UserId,
        plan: &str,
    ) -> mainstay::kernel::Result<proto::Subscription> {
        let request = proto::UpdateSubscriptionRequest { plan: plan.into() };
        as_user(&user.to_string(), self.client.update_subscription(request)).await
    }

    pub(crate) async fn cancel(
        &self,
        user: UserId,
    ) -> mainstay::kernel::Result<proto::Subscription> {
        let request = proto::CancelSubscriptionRequest {};
        as_user(&user.to_string(), self.client.cancel_subscription(request)).await
    }

    pub(crate) async fn subscription(&self, user: UserId) -> proto::Subscription {
        let request = proto::GetSubscriptionRequest {};
        as_user(&user.to_string(), self.client.get_subscription(request)).await.unwrap()
    }

    pub(crate) async fn entitlements(&self, user: UserId) -> proto::Entitlements {
        let request = proto::GetUserEntitlementsRequest { user_id: user.to_string() };
        self.client.get_user_entitlements(request).await.unwrap()
    }
}
