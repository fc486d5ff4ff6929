//! Stories of authz over a real server, each on both transports.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test ends where a value is missing, and nobody reads its documentation"
)]

mod bindings;
mod decisions;
mod harness;
mod input;
mod members;
mod roles;
mod watch;

/// Runs each story over gRPC and over gRPC-Web.
macro_rules! on_both_transports {
    ($($story:ident),* $(,)?) => {
        mod grpc {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(mainstay::kernel::settings::Transport::Grpc).await;
            })*
        }
        mod grpc_web {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(mainstay::kernel::settings::Transport::GrpcWeb).await;
            })*
        }
    };
}
pub(crate) use on_both_transports;
