//! Presentation: each RPC parses its request, calls the app and renders the reply.

mod render;
mod service;
pub mod watch;

use mainstay::contract::proto::mainstay::billing::v1::billing_service_server::BillingServiceServer;
use mainstay::kernel::watch::Feed;

use crate::app::App;
use crate::domain::PlanNews;

/// The gRPC service over `app`; `plans` tells changes of plans to those who watch them.
pub fn server(app: App, plans: Feed<PlanNews>) -> BillingServiceServer<service::Billing> {
    BillingServiceServer::new(service::Billing::new(app, plans))
}
