//! What `build.rs` refuses.
use prost_reflect::{DescriptorPool, ServiceDescriptor};
/// All faults.
#[allow(dead_code, unreachable_pub)]
pub fn check_contracts(pool: &DescriptorPool) -> Vec<String> {
    check_policies(pool)
}
/// Faults of policies.
#[allow(dead_code, unreachable_pub)]
pub fn check_policies(_pool: &DescriptorPool) -> Vec<String> {
    Vec::new()
}
/// Whether a service needs a policy.
#[allow(dead_code, unreachable_pub)]
pub fn is_governed(service: &ServiceDescriptor) -> bool {
    !["grpc.", "google."].iter().any(|p| service.full_name().starts_with(p))
}
