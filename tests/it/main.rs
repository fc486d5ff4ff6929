//! The kernel's stories: real servers on free ports, real certificates, real databases.
// Tests stop at the first surprise, and their names are their documentation.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../suite/bus.rs"]
mod bus_suite;
mod cache;
mod channel;
mod database;
mod events;
mod health;
mod lifecycle;
mod mesh;
mod operations;
mod policed;
mod policy;
mod process;
mod public_routes;
mod registry;
mod server;
mod settings;
mod telemetry;
mod whoami;
mod world;
