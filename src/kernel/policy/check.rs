//! What `build.rs` refuses.
pub fn check_contracts(_pool: &prost_reflect::DescriptorPool) -> Vec<String> { Vec::new() }
