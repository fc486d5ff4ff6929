//! Stories of billing, told through its client trait over a real server.
#![allow(clippy::unwrap_used, missing_docs, reason = "a story that breaks should say where")]

mod fake_stripe;
mod harness;
mod plans;
mod stripe;
mod subscriptions;
mod watch;
