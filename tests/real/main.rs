//! Stories that only make sense on real servers, and the contract suites of the adapters to them.
//!
//! Plain `cargo test` leaves this target out; `cargo xtask test --real` starts the servers and runs
//! it. A suite that the embedded adapters pass as well lies in `tests/suite/`, shared with `it`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a story that breaks should say where")]

mod change_capture;
mod kafka;
mod outages;
mod postgres;
mod postgres_outage;
mod redis_away;
mod redis_streams;
mod registry;
mod servers;
mod shared_memory;
#[path = "../suite/bus.rs"]
mod suite_bus;
#[path = "../suite/cache.rs"]
mod suite_cache;
#[path = "../suite/limit.rs"]
mod suite_limit;
#[allow(dead_code, reason = "its stories run in `it`, its bus serves here")]
#[path = "../suite/relay.rs"]
mod suite_relay;
#[allow(dead_code, reason = "the stories of `it` use more of it")]
#[path = "../it/world.rs"]
mod world;

use mainstay_testing::{INFRA_VARIABLE, Infra};

/// The servers of this run: here there is no story without them.
fn infra() -> &'static Infra {
    mainstay_testing::infra()
        .unwrap_or_else(|| panic!("{INFRA_VARIABLE} is not set; mend: cargo xtask test --real"))
}

#[test]
fn every_server_of_the_run_answers() {
    infra().check().expect("cargo xtask infra up");
}
