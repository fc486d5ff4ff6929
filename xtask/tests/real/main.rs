//! Stories of what `cargo xtask` does with real servers.
// A failed expectation is a failed test, and the stories are the documentation.
#![allow(clippy::unwrap_used, missing_docs)]

mod bench;
mod infra;
#[path = "../it/port.rs"]
mod port;
