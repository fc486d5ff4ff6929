//! Telling the state to those who follow it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::HEARTBEAT;
use crate::kernel::error::Result;

/// How long a reading may take. One that takes longer tells nothing any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// The state that a [`Feed`] tells of.
#[async_trait]
pub trait FeedSource: Send + Sync + 'static {
    /// What is read of it; `before` is what was read last.
    type State: Send + Sync + 'static;

    /// Reads it, from where it is kept: everything that was committed before the call is in it.
    async fn read(&self, before: Option<&Self::State>) -> Result<Self::State>;

    /// Waits until it may have changed. A change that goes unnoticed is found by the next heartbeat.
    /// Safe to cancel.
    async fn changed(&self);
}

/// The messages for one follower, as a gRPC service answers with them.
pub type MessageStream<M> = BoxStream<'static, std::result::Result<M, Status>>;

/// Tells a state to any number of followers, for whom it is read once.
pub struct Feed<T> {
    readings: watch::Sender<Option<Reading<T>>>,
    asked: Arc<Notify>,
    draining: CancellationToken,
    _reader: AbortOnDropHandle<()>,
}

struct Reading<T> {
    state: Arc<T>,
    /// When the reading began: every change committed before it is in it.
    begun: Instant,
}

impl<T: Send + Sync + 'static> Feed<T> {
    /// A feed of `source`, whose streams end when `draining` is cancelled. Nothing is read while
    /// nobody follows. Must be called within a Tokio runtime.
    pub fn start(source: impl FeedSource<State = T>, draining: CancellationToken) -> Self {
        let (readings, asked) = (watch::Sender::new(None), Arc::new(Notify::new()));
        let reader = read_on(source, readings.clone(), Arc::clone(&asked));
        let reader = AbortOnDropHandle::new(tokio::spawn(reader));
        Self { readings, asked, draining, _reader: reader }
    }

    /// A stream of messages for one follower: the first one at once, then one for each reading.
    /// `message` is given the state, and how long after this call its reading began. While the state
    /// cannot be read there is no message.
    pub fn stream<M: Send + 'static>(
        &self,
        mut message: impl FnMut(&T, Duration) -> M + Send + 'static,
    ) -> MessageStream<M> {
        let asked = Instant::now();
        let readings = self.readings.subscribe();
        self.asked.notify_one();
        let readings = stream::unfold(readings, move |mut readings| async move {
            let reading = next_after(asked, &mut readings).await?;
            Some((reading, readings))
        });
        let messages = readings.map(move |(state, elapsed)| Ok(message(&state, elapsed)));
        messages.take_until(self.draining.clone().cancelled_owned()).boxed()
    }
}

/// The next reading that began after a stream was asked for, and how long after. One that began
/// before would claim to be newer than it is.
async fn next_after<T>(
    asked: Instant,
    readings: &mut watch::Receiver<Option<Reading<T>>>,
) -> Option<(Arc<T>, Duration)> {
    loop {
        readings.changed().await.ok()?;
        if let Some(reading) = readings.borrow_and_update().as_ref()
            && let Some(elapsed) = reading.begun.checked_duration_since(asked)
        {
            return Some((Arc::clone(&reading.state), elapsed));
        }
    }
}

/// Reads the state whenever it may have changed, a follower has come, or a heartbeat is due.
async fn read_on<S: FeedSource>(
    source: S,
    readings: watch::Sender<Option<Reading<S::State>>>,
    asked: Arc<Notify>,
) {
    loop {
        while readings.is_closed() {
            asked.notified().await;
        }
        let begun = Instant::now();
        let before = readings.borrow().as_ref().map(|reading| Arc::clone(&reading.state));
        let read = source.read(before.as_deref());
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(state)) => {
                readings.send_replace(Some(Reading { state: Arc::new(state), begun }));
            }
            Ok(Err(error)) => tracing::debug!(%error, "what others follow cannot be read"),
            Err(_) => tracing::debug!("what others follow could not be read in time"),
        }
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT) => {}
            () = source.changed() => {}
            () = asked.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

    use super::*;
    use crate::kernel::error::Error;

    /// A number that changes, and can be away.
    #[derive(Default)]
    struct Number {
        value: AtomicI64,
        is_away: AtomicBool,
        reads: AtomicUsize,
        changed: Notify,
    }

    struct Source(Arc<Number>);

    #[async_trait]
    impl FeedSource for Source {
        type State = i64;

        async fn read(&self, _: Option<&i64>) -> Result<i64> {
            self.0.reads.fetch_add(1, Ordering::SeqCst);
            match self.0.is_away.load(Ordering::SeqCst) {
                true => Err(Error::unavailable("away")),
                false => Ok(self.0.value.load(Ordering::SeqCst)),
            }
        }

        async fn changed(&self) {
            self.0.changed.notified().await;
        }
    }

    fn feed() -> (Arc<Number>, Feed<i64>, CancellationToken) {
        let (number, draining) = (Arc::<Number>::default(), CancellationToken::new());
        let feed = Feed::start(Source(Arc::clone(&number)), draining.clone());
        (number, feed, draining)
    }

    #[tokio::test]
    async fn a_follower_hears_the_state_at_once_with_each_change_and_without() {
        let (number, feed, _) = feed();
        number.value.store(7, Ordering::SeqCst);
        let mut stream = feed.stream(|value, elapsed| (*value, elapsed));
        let (first, elapsed) = stream.next().await.expect("a message").expect("no error");
        assert_eq!(first, 7);
        number.value.store(8, Ordering::SeqCst);
        number.changed.notify_one();
        let (next, later) = stream.next().await.expect("a message").expect("no error");
        assert!(next == 8 && later >= elapsed, "{next} {later:?}");
        let (beat, _) = stream.next().await.expect("a heartbeat").expect("no error");
        assert_eq!(beat, 8);
    }

    #[tokio::test]
    async fn a_late_follower_is_told_nothing_that_was_read_before_it_came() {
        let (number, feed, _) = feed();
        let mut early = feed.stream(|value, _| *value);
        early.next().await.expect("a message").expect("no error");
        number.value.store(8, Ordering::SeqCst);
        let mut late = feed.stream(|value, _| *value);
        assert_eq!(late.next().await.expect("a message").expect("no error"), 8);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_told_and_a_drain_ends_the_streams() {
        let (number, feed, draining) = feed();
        number.is_away.store(true, Ordering::SeqCst);
        let mut stream = feed.stream(|value, _| *value);
        while number.reads.load(Ordering::SeqCst) < 2 {
            let silent = tokio::time::timeout(HEARTBEAT / 10, stream.next()).await;
            assert!(silent.is_err(), "{silent:?}");
        }
        number.is_away.store(false, Ordering::SeqCst);
        stream.next().await.expect("a message").expect("no error");
        draining.cancel();
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn nothing_is_read_while_nobody_follows() {
        let (number, feed, _) = feed();
        drop(feed.stream(|value, _| *value));
        tokio::task::yield_now().await;
        assert_eq!(number.reads.load(Ordering::SeqCst), 0, "it was gone before it was served");
    }
}
