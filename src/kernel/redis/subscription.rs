//! Hearing what is published on a channel.
//!
//! Redis tells those who listen at the moment, and nobody later. A subscription therefore says also
//! when it may have missed something, at its begin and after each break: then its owner looks at the
//! state itself.

use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::connect;
use super::link::{Link, Live};
use crate::kernel::events::backoff::Backoff;

/// How many messages may wait for their reader.
const BUFFER: usize = 1024;

/// The first wait before another attempt, as a part of the longest.
const FIRST_WAIT: u32 = 20;

/// What a subscription hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A message.
    Message(Vec<u8>),
    /// The subscription began, or began again: there may have been messages that were not heard.
    Missed,
}

/// A subscription to one channel. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Subscription {
    signals: mpsc::Receiver<Signal>,
    listener: AbortHandle,
}

impl Subscription {
    pub(super) fn new(link: Arc<Link>, channel: &str) -> Self {
        let (sender, signals) = mpsc::channel(BUFFER);
        let listener = tokio::spawn(listen(link, channel.to_owned(), sender)).abort_handle();
        Self { signals, listener }
    }

    /// Waits for the next signal. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.signals.recv().await {
            Some(signal) => signal,
            // The listener ends with its runtime only.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Listens while the process's connection works, and anew when there is another: a connection that
/// only hears cannot find out that nobody speaks any more.
async fn listen(link: Arc<Link>, channel: String, signals: mpsc::Sender<Signal>) {
    let longest = link.settings.max_reconnect_backoff;
    let backoff = Backoff::between(longest / FIRST_WAIT, longest);
    let mut failures = 0;
    while let Some(live) = link.up().await {
        match hear(&link, &live, &channel, &signals).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, channel, "a subscription could not be made");
            }
        }
        tokio::time::sleep(backoff.wait(failures)).await;
    }
}

/// Hands signals on until the connection breaks.
async fn hear(
    link: &Link,
    live: &Live,
    channel: &str,
    signals: &mpsc::Sender<Signal>,
) -> anyhow::Result<()> {
    let patience = link.settings.connect_timeout;
    let mut messages = connect::listener(&link.client, patience, channel).await?.into_on_message();
    signals.send(Signal::Missed).await?;
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => {
                    signals.send(Signal::Message(message.get_payload_bytes().to_vec())).await?;
                }
                None => return Ok(()),
            },
            () = live.given_up() => return Ok(()),
        }
    }
}
