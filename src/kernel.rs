//! What services stand on. The kernel knows no business noun: it reads contracts as descriptors.
//!
//! | room | what it holds |
//! |---|---|
//! | [`lifecycle`] | `run`, `Module`, `Platform`: start and drain |
//! | [`settings`] | defaults < file < environment < secret files; `Secret` |
//! | [`telemetry`] | tracing, OTLP, metrics, log format, propagation |
//! | [`health`] | `grpc.health.v1`, `/healthz`, `/readyz`, `/metrics` |
//! | [`registry`] | register and watch |
//! | [`channel`] | the client side of the mesh |
//! | [`policy`] | the contract's policy, compiled once |
//! | [`server`] | the server side: mTLS identity, policy enforcement, panics, limits, reflection |
//! | [`call`] | who calls, in which request, until when |
//! | [`token`] | verification of access tokens |
//! | [`tls`] | certificates and identities of the mesh, and those of the edge |
//! | `changes` | files that change while the process runs |
//! | `grown` | maps that are read on every call and hardly ever grow |
//! | `cores` | threads with a runtime each, over which connections are spread |
//! | [`events`] | envelope, outbox, relay, inbox, consumer, dead letters |
//! | [`jobs`] | durable jobs and schedules with leases |
//! | [`saga`] | work over several services, done as a whole or undone |
//! | [`redis`] | the memory that processes share |
//! | [`cache`], [`limit`] | cache and token bucket |
//! | [`claims`] | whoever is first, and what came of it |
//! | [`watch`] | following a state that another service keeps |
//! | [`database`] | connection, migrations, transactions with outbox |
//! | [`page`] | page sizes and page tokens |
//! | [`etag`] | which state of a resource a change is for |
//! | [`operations`] | what operators see of a service and do about it |
//! | [`time`] | times as contracts state them |
//! | [`error`] | the one error type at boundaries |
//! | [`failpoint`] | where tests kill a process |

pub mod cache;
pub mod call;
mod changes;
pub mod channel;
pub mod claims;
mod cores;
pub mod database;
pub mod error;
pub mod etag;
pub mod events;
pub mod failpoint;
mod grown;
pub mod health;
pub mod jobs;
pub mod lifecycle;
pub mod limit;
pub mod operations;
pub mod page;
pub mod policy;
pub mod proto;
pub mod redis;
pub mod registry;
pub mod saga;
pub mod server;
pub mod settings;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod token;
pub mod watch;

pub use error::{Error, ErrorCode, Result};
