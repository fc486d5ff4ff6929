//! The end of a process at a chosen moment, as `kill -9` or a power cut ends it.

use std::sync::atomic::{AtomicU32, Ordering};

use mainstay::kernel::failpoint::Failpoint;
use rustix::process::{Signal, getpid, kill_process};

/// This process ends by SIGKILL when it passes a failpoint for the `passage`th time, from 1: no
/// destructor runs, no buffer is written, no connection is closed in order.
///
/// # Panics
/// If failpoints are not built in.
pub fn die_at(failpoint: Failpoint, passage: u32) {
    assert!(fail::has_failpoints(), "no failpoints are built in: build the whole workspace");
    let passed = AtomicU32::new(0);
    let die = move || {
        if passed.fetch_add(1, Ordering::SeqCst) + 1 >= passage {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        }
    };
    fail::cfg_callback(failpoint.name(), die).expect("a callback is always sound");
}
