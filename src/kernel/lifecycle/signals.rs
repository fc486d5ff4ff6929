//! SIGTERM and SIGINT: the first asks the process to drain, the second to end at once.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that a second signal ended: that of SIGINT, as shells count.
const EXIT_AT_ONCE: i32 = 130;

/// The signals that ask a process to end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends the process with work in flight, as whoever signalled twice wants.
pub(super) fn exit_at_once() -> ! {
    tracing::warn!("asked twice, ending at once");
    std::process::exit(EXIT_AT_ONCE)
}
