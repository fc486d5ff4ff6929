//! Generated messages and stubs, one module for each package of `proto/`.
//!
//! Generated code; its documentation is the comments of the contracts.
#![allow(missing_docs, unreachable_pub, clippy::all)]

/// `google.api`
pub mod google {
    pub mod api {
        tonic::include_proto!("google.api");
    }
}
/// `mainstay`
pub mod mainstay {
    pub mod auth {
        pub mod v1 {
            tonic::include_proto!("mainstay.auth.v1");
        }
    }
    pub mod identity {
        pub mod v1 {
            tonic::include_proto!("mainstay.identity.v1");
        }
    }
    pub mod authz {
        pub mod v1 {
            tonic::include_proto!("mainstay.authz.v1");
        }
    }
    pub mod audit {
        pub mod v1 {
            tonic::include_proto!("mainstay.audit.v1");
        }
    }
    pub mod billing {
        pub mod v1 {
            tonic::include_proto!("mainstay.billing.v1");
        }
    }
}
