//! Stories over the whole platform: six real processes, REST at the gateway.
#![allow(clippy::unwrap_used, missing_docs, reason = "a story that breaks should say where")]

mod api_keys;
mod bad_input;
mod journey;
mod people;
mod permissions;
mod resilience;
mod tokens;
