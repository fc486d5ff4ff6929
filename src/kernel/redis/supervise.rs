//! The task that looks after the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connect;
use super::link::{Link, Live};
use crate::kernel::events::backoff::Backoff;

/// The first wait before another attempt, as a part of the longest.
const FIRST_WAIT: u32 = 20;

/// Opens the connection and opens it again, for ever, with waits that grow while that fails. Both
/// news are logged once.
pub(super) async fn supervise(link: Arc<Link>) {
    let longest = link.settings.max_reconnect_backoff;
    let backoff = Backoff::between(longest / FIRST_WAIT, longest);
    let (mut failures, mut is_told) = (0, false);
    loop {
        match connect::connection(&link.client, link.settings.connect_timeout).await {
            Ok(connection) => {
                let (live, since) = (Arc::new(Live::new(connection)), Instant::now());
                link.appeared(&live);
                tracing::info!("redis is there");
                let reason = watch(&live, link.settings.heartbeat, link.settings.command_timeout);
                let reason = reason.await;
                link.disappeared();
                tracing::warn!(reason, "redis went away: what uses it does without it");
                is_told = true;
                // One that breaks again and again is tried more and more seldom.
                failures = if since.elapsed() > longest { 0 } else { failures + 1 };
            }
            Err(error) => {
                link.disappeared();
                if !is_told {
                    tracing::warn!(%error, "redis is away: what uses it does without it");
                    is_told = true;
                }
                failures += 1;
            }
        }
        if failures > 0 {
            tokio::time::sleep(backoff.wait(failures)).await;
        }
    }
}

/// Waits until the connection is of no more use, and says why.
async fn watch(live: &Live, heartbeat: Duration, patience: Duration) -> &'static str {
    let beats = async {
        loop {
            tokio::time::sleep(heartbeat).await;
            let mut connection = live.connection.clone();
            match tokio::time::timeout(patience, connect::ping(&mut connection)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return "the connection broke",
                Err(_) => return "it gave no sign of life",
            }
        }
    };
    let reason = tokio::select! {
        reason = beats => reason,
        () = live.given_up() => "a command got no answer",
    };
    live.give_up();
    reason
}
