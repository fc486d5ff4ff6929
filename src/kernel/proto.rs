//! Generated messages of the kernel's own contracts: policy options and platform events.
//!
//! Generated code; its documentation is the comments of the contracts.
#![allow(missing_docs, unreachable_pub, clippy::all)]

/// `mainstay.policy.v1`
pub mod policy {
    tonic::include_proto!("mainstay.policy.v1");
}
/// `mainstay.events.v1`
pub mod events {
    tonic::include_proto!("mainstay.events.v1");
}
/// `buf.validate`
pub mod validate {
    tonic::include_proto!("buf.validate");
}
