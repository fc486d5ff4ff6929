//! Stories about identity, told through its client trait to a real server: over gRPC and over
//! gRPC-Web alike.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that cannot go on fails"
)]

mod deleting;
mod events;
mod harness;
mod listing;
mod running;
mod updating;
mod users;
mod withdrawing;

/// Runs each story once for each transport.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod grpc {
            $(#[tokio::test] async fn $story() {
                super::$story(mainstay::kernel::settings::Transport::Grpc).await;
            })*
        }
        mod grpc_web {
            $(#[tokio::test] async fn $story() {
                super::$story(mainstay::kernel::settings::Transport::GrpcWeb).await;
            })*
        }
    };
}
use stories;
