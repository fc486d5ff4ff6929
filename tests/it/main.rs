//! The kernel's stories: real servers on free ports, real certificates, real databases.
// Tests stop at the first surprise, and their names are their documentation.
#![allow(clippy::unwrap_used, missing_docs)]

mod admin;
mod cache;
mod canary;
mod channel;
mod database;
mod events;
mod golden;
mod health;
mod jobs;
mod lifecycle;
mod limit;
mod mesh;
mod migrations;
mod operations;
mod policed;
mod policy;
mod process;
mod public_routes;
mod registry;
mod renewal;
mod reports;
mod saga;
mod server;
mod settings;
#[path = "../suite/bus.rs"]
mod suite_bus;
#[path = "../suite/cache.rs"]
mod suite_cache;
#[path = "../suite/crash.rs"]
mod suite_crash;
#[path = "../suite/limit.rs"]
mod suite_limit;
#[path = "../suite/relay.rs"]
mod suite_relay;
mod telemetry;
mod whoami;
mod world;
