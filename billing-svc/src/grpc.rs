//! Presentation: each RPC parses its request, calls the app and renders the reply.

mod render;
mod service;

use mainstay::contract::proto::mainstay::billing::v1::billing_service_server::BillingServiceServer;

use crate::app::App;

/// The gRPC service over `app`.
pub fn server(app: App) -> BillingServiceServer<service::Billing> {
    BillingServiceServer::new(service::Billing::new(app))
}
