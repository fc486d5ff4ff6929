//! audit: what happened.

use super::client::client;

pub use super::id::AuditEventId;
pub use super::proto::mainstay::audit::v1 as proto;
use proto::audit_service_client::AuditServiceClient;

/// The service's name in the mesh.
pub const SERVICE: &str = "audit-svc";

client! {
    /// What audit offers.
    AuditClient, over gRPC GrpcAuditClient(AuditServiceClient) {
        /// Lists audit events, newest first.
        list_events(ListEventsRequest) -> proto::ListEventsResponse;
        /// Returns one audit event.
        get_event(GetEventRequest) -> proto::AuditEvent;
        /// Recomputes the chain of hashes.
        verify(VerifyRequest) -> proto::VerifyResponse;
        /// Lists what the user who calls did.
        list_activity(ListActivityRequest) -> proto::ListActivityResponse;
    }
}
