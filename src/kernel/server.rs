//! The server side of the mesh and of the edge.
//!
//! A [`Listener`] accepts connections, with or without mTLS, within limits, and ends in order: it
//! stops accepting, tells its clients to go (GOAWAY, `Connection: close`), finishes what is in
//! flight and leaves nobody who is merely silent in the way. gRPC, REST and the admin port share it.
//! Requests that state their length in two ways are refused, and who takes nothing of a reply is given up.
//!
//! [`grpc_app`] puts the contract's policy around gRPC services: who the peer is by its certificate,
//! for which user it speaks, whether it may, whether the request is sound, until when, and what is
//! recorded of it. A service behind it sees only calls that its contract allows.

mod activity;
mod app;
mod connection;
mod framing;
mod grpc;
mod listener;
mod socket;

pub use app::App;
pub use connection::{Ending, Open, Peer};
pub use grpc::{GrpcContext, grpc_app};
pub use listener::{Listener, Serving};
