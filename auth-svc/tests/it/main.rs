//! Stories about auth, told through its client trait to a real server: over gRPC and over gRPC-Web
//! alike. Identity is the real one where a story needs it.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that cannot go on fails"
)]

mod api_keys;
mod bootstrap;
mod completing;
mod grants;
mod harness;
mod keys;
mod login;
mod password;
mod refresh;
mod registration;
mod running;
mod sessions;

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
