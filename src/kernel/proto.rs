//! Generated messages of the kernel's own contracts, policy options, platform events and operations, and
//! of the servers it speaks to.
//!
//! Generated code; its documentation is the comments of the contracts.
#![allow(missing_docs, unreachable_pub, clippy::all)]

pub use mainstay::events::v1 as events;
pub use mainstay::operations::v1 as operations;
pub use mainstay::policy::v1 as policy;

/// Packages that refer to each other lie as their names say.
mod mainstay {
    pub mod events {
        pub mod v1 {
            tonic::include_proto!("mainstay.events.v1");
        }
    }
    pub mod operations {
        pub mod v1 {
            tonic::include_proto!("mainstay.operations.v1");
        }
    }
    pub mod policy {
        pub mod v1 {
            tonic::include_proto!("mainstay.policy.v1");
        }
    }
}
/// `buf.validate`
pub mod validate {
    tonic::include_proto!("buf.validate");
}
/// `etcdserverpb`: etcd's protocol, as far as it is spoken
pub mod etcd {
    tonic::include_proto!("etcdserverpb");
}
