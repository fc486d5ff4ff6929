//! Whether the process lives, and whether it may take traffic.
//!
//! `/healthz` answers as long as the process does: who finds it silent restarts the process.
//! `/readyz` and `grpc.health.v1` say whether it may take traffic: started, not draining, and every
//! check of [`Readiness`] holds; who finds it unready sends nothing. `/metrics` is for Prometheus.
//! Where only something is wrong that the process can do without, `/readyz` answers 200 and
//! `degraded`.
//! What is below `/admin/` is for those who operate the process.
//! A service that another one depends on is no check, for one failure would make all unready.

mod admin;
mod grpc;
mod readiness;

pub use admin::{Admin, admin_app};
pub use grpc::{GrpcHealth, grpc_health};
pub use readiness::{Readiness, Reason};
