//! Whoever interrupts a run has what it made taken away first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::ensure;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Signals are the whole program's, so this is, too.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From here on a signal ends the waits, which fail, and not the program.
pub(in crate::chart) fn listen() -> anyhow::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED))?;
    }
    Ok(())
}

/// Waits a moment before something is asked again.
pub(in crate::chart) fn pause(moment: Duration) -> anyhow::Result<()> {
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    std::thread::sleep(moment);
    Ok(())
}
