//! billing: what users pay for.

mod known;
mod remote;
mod shared;

use tonic::Code;

use super::client::client;
use crate::kernel::error::ErrorCode;

pub use super::id::{SubscriptionId, UserId};
pub use super::proto::mainstay::billing::v1 as proto;
use proto::billing_service_client::BillingServiceClient;
pub use remote::RemoteEntitlements;

/// The service's name in the mesh.
pub const SERVICE: &str = "billing-svc";

/// The catalogue has no such plan.
pub const PLAN_UNKNOWN: ErrorCode = ErrorCode::new("PLAN_UNKNOWN", Code::InvalidArgument);
/// A paid subscription of the user runs already.
pub const ALREADY_SUBSCRIBED: ErrorCode = ErrorCode::new("ALREADY_SUBSCRIBED", Code::AlreadyExists);
/// No subscription of the user runs.
pub const NOT_SUBSCRIBED: ErrorCode =
    ErrorCode::with_http("NOT_SUBSCRIBED", Code::FailedPrecondition, 409);
/// The webhook's signature does not hold, or is too old.
pub const WEBHOOK_SIGNATURE_INVALID: ErrorCode =
    ErrorCode::new("WEBHOOK_SIGNATURE_INVALID", Code::InvalidArgument);
/// The payment provider does not answer.
pub const PROVIDER_UNAVAILABLE: ErrorCode =
    ErrorCode::new("PROVIDER_UNAVAILABLE", Code::Unavailable);

client! {
    /// What billing offers.
    BillingClient, over gRPC GrpcBillingClient(BillingServiceClient) {
        /// Lists the plans on offer.
        list_plans(ListPlansRequest) -> proto::ListPlansResponse;
        /// Returns the subscription of the user who calls.
        get_subscription(GetSubscriptionRequest) -> proto::Subscription;
        /// Subscribes the user who calls to a plan.
        create_subscription(CreateSubscriptionRequest) -> proto::Subscription;
        /// Changes the plan of the user who calls.
        update_subscription(UpdateSubscriptionRequest) -> proto::Subscription;
        /// Cancels the subscription of the user who calls.
        cancel_subscription(CancelSubscriptionRequest) -> proto::Subscription;
        /// Returns what the plan of the user who calls includes.
        get_entitlements(GetEntitlementsRequest) -> proto::Entitlements;
        /// Receives what the payment provider reports.
        receive_webhook(ReceiveWebhookRequest) -> proto::ReceiveWebhookResponse;
        /// Returns what a user's plan includes, for services.
        get_user_entitlements(GetUserEntitlementsRequest) -> proto::Entitlements;
    }
    streaming {
        /// Tells who changed plans.
        watch_plans(WatchPlansRequest) -> proto::WatchPlansResponse;
    }
}
