//! What services promise: one module for each area, beside the messages and stubs that are
//! generated from `proto/`.
//!
//! Each area has its service's name, the ids it gives out, its error codes and a client trait with
//! one method for each RPC. Callers hold the trait: they never know whether what stands behind it is
//! remote, local or a test double.

pub mod audit;
pub mod auth;
pub mod authz;
pub mod billing;
mod client;
pub mod codes;
pub mod email;
pub mod id;
pub mod identity;
pub mod operations;
pub mod proto;

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// Every contract of `proto/` as an encoded `google.protobuf.FileDescriptorSet`, with options and
/// comments: what [`Module::new`](crate::kernel::lifecycle::Module::new) takes.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.bin"));

/// [`DESCRIPTORS`], decoded once.
pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(DESCRIPTORS).expect("the build checked the descriptor set")
    });
    &POOL
}
