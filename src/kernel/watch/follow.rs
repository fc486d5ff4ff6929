//! Hearing what a state is at, from whoever keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio_util::task::AbortOnDropHandle;

use super::MAX_AGE;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::backoff::Backoff;
use crate::kernel::telemetry::{Metrics, WatchMetrics};

/// How long a stream is followed before another is begun: clocks of different speed drift apart by
/// no more than it takes for this long, and followers spread over new instances.
const STREAM_LIFE: Duration = Duration::from_secs(60);

/// How long nothing has vouched for a revision before a lower one is believed: a database that was
/// restored counts from where it was. Longer than anything that was learned is kept.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// How long a stream may take to open. Meanwhile what is known ages, and is not used for longer.
const OPENING: Duration = Duration::from_secs(5);

/// The waits between attempts while there is no stream.
const BACKOFF: Backoff = Backoff::between(Duration::from_millis(20), Duration::from_millis(500));

/// What a stream of a [`Watched`] carries.
pub type Messages<C> = BoxStream<'static, Result<Heard<C>>>;

/// One message.
#[derive(Clone, Debug)]
pub struct Heard<C> {
    /// The newest revision.
    pub revision: i64,
    /// How long after the stream was asked for the revision was read.
    pub elapsed: Duration,
    /// What the message says besides.
    pub content: C,
}

/// A state that somebody else keeps.
#[async_trait]
pub trait Watched: Send + Sync + 'static {
    /// What messages say besides the revision.
    type Content: Send + 'static;

    /// Asks for a stream to one who knows everything up to a revision; 0 knows nothing.
    async fn open(&self, after_revision: i64) -> Result<Messages<Self::Content>>;

    /// Takes a message in, before its revision counts as known. `known` is the revision before.
    async fn take(&self, known: i64, heard: Heard<Self::Content>);
}

/// A state that is followed in the background until this is dropped.
#[derive(Debug)]
pub struct Following {
    standing: Arc<Standing>,
    _follower: AbortOnDropHandle<()>,
}

/// What is known. Read by every call, so it takes no lock.
#[derive(Debug)]
struct Standing {
    base: Instant,
    /// The newest revision; 0 until one was heard.
    revision: AtomicI64,
    /// As of when it was the newest, in microseconds since `base`; 0 until one was heard.
    as_of: AtomicU64,
}

impl Following {
    /// Follows `watched`, measured under `name`. Must be called within a Tokio runtime.
    pub fn begin(name: &'static str, watched: impl Watched, metrics: &Metrics) -> Self {
        let standing = Arc::new(Standing::new());
        let metrics = metrics.watch(name);
        let follower = follow(name, watched, Arc::clone(&standing), metrics);
        Self { standing, _follower: AbortOnDropHandle::new(tokio::spawn(follower)) }
    }

    /// The newest revision, if it was the newest no longer than [`MAX_AGE`] ago. What was learned at
    /// it may be used.
    pub fn current(&self) -> Option<i64> {
        self.standing.within(MAX_AGE)
    }

    /// The newest revision, if it was the newest no longer than `age` ago.
    pub fn within(&self, age: Duration) -> Option<i64> {
        self.standing.within(age)
    }

    /// The newest revision that was ever heard of; 0 for none. What is answered at a lower one is
    /// out of date.
    pub fn newest(&self) -> i64 {
        self.standing.newest()
    }
}

impl Standing {
    fn new() -> Self {
        // A little in the past, so that what was asked for at once is not at zero.
        let now = Instant::now();
        let base = now.checked_sub(Duration::from_millis(1)).unwrap_or(now);
        Self { base, revision: AtomicI64::new(0), as_of: AtomicU64::new(0) }
    }

    fn within(&self, age: Duration) -> Option<i64> {
        // In this order: a time that is seen belongs to the revision seen after it, or an older one.
        let age_now = self.age()?;
        let revision = self.newest();
        (age_now <= age).then_some(revision)
    }

    fn newest(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    /// How long ago the revision was the newest; `None` until one was heard.
    fn age(&self) -> Option<Duration> {
        let as_of = self.as_of.load(Ordering::Acquire);
        let elapsed = self.base.elapsed();
        (as_of != 0).then(|| elapsed.saturating_sub(Duration::from_micros(as_of)))
    }

    /// Whether a revision can be believed: one who tells a lower one than is known lags behind.
    fn believes(&self, revision: i64) -> bool {
        revision >= self.newest() || self.age().is_none_or(|age| age > FORGOTTEN)
    }

    /// Notes that a revision was the newest at a time.
    fn vouch(&self, revision: i64, as_of: Instant) {
        let since_base = as_of.saturating_duration_since(self.base).as_micros();
        self.revision.store(revision, Ordering::Release);
        self.as_of.fetch_max(u64::try_from(since_base).unwrap_or(u64::MAX), Ordering::AcqRel);
    }
}

async fn follow<W: Watched>(
    name: &'static str,
    watched: W,
    standing: Arc<Standing>,
    metrics: WatchMetrics,
) {
    let (mut failures, mut is_away) = (0, false);
    loop {
        let followed = follow_once(&watched, &standing, &metrics, || {
            if std::mem::take(&mut is_away) {
                tracing::info!(watch = name, "changes are heard of again");
            }
            failures = 0;
        });
        if let Err(error) = followed.await {
            metrics.broken();
            failures += 1;
            tracing::debug!(watch = name, %error, "changes cannot be followed");
            let is_lost = standing.newest() != 0 && standing.within(MAX_AGE).is_none();
            if is_lost && !std::mem::replace(&mut is_away, true) {
                tracing::warn!(watch = name, %error, "changes are not heard of any more");
            }
        }
        metrics.age(standing.age());
        tokio::time::sleep(BACKOFF.wait(failures)).await;
    }
}

/// Follows one stream to its end.
async fn follow_once<W: Watched>(
    watched: &W,
    standing: &Standing,
    metrics: &WatchMetrics,
    mut heard_something: impl FnMut(),
) -> Result<()> {
    let asked = Instant::now();
    let mut messages = within(OPENING, watched.open(standing.newest())).await??;
    let mut is_first = true;
    while asked.elapsed() < STREAM_LIFE {
        metrics.age(standing.age());
        let Some(heard) = within(MAX_AGE, messages.next()).await?.transpose()? else {
            // A stream that says nothing is none; one that has ended in order is begun anew.
            return if is_first { Err(Error::unavailable("the stream was empty")) } else { Ok(()) };
        };
        if !standing.believes(heard.revision) {
            return Err(Error::unavailable("who was asked lags behind"));
        }
        // A time that the clock cannot have reached is a fault of the other side's.
        let as_of = asked.checked_add(heard.elapsed).unwrap_or(asked).min(Instant::now());
        let (known, revision) = (standing.newest(), heard.revision);
        watched.take(known, heard).await;
        standing.vouch(revision, as_of);
        heard_something();
        is_first = false;
    }
    Ok(())
}

/// Who is silent for longer than that is left.
async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(patience, work).await.map_err(|_| Error::unavailable("nothing is heard"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream;

    use super::*;

    fn ago(millis: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_millis(millis)).expect("the machine runs longer")
    }

    fn long_standing() -> Standing {
        Standing { base: ago(200_000), ..Standing::new() }
    }

    #[test]
    fn a_revision_counts_for_as_long_as_it_was_the_newest_lately() {
        let standing = long_standing();
        assert_eq!(standing.within(MAX_AGE), None, "nothing was heard");
        standing.vouch(7, ago(900));
        assert_eq!(standing.within(MAX_AGE), Some(7));
        assert_eq!(standing.within(Duration::from_millis(500)), None);
        standing.vouch(7, ago(5_000));
        assert_eq!(standing.within(MAX_AGE), Some(7), "a late message takes nothing back");
        let standing = long_standing();
        standing.vouch(7, ago(1_100));
        assert_eq!(standing.within(MAX_AGE), None, "by a message that was long under way");
    }

    #[test]
    fn a_lower_revision_is_believed_when_nobody_has_vouched_for_the_higher_one_for_long() {
        let standing = long_standing();
        assert!(standing.believes(1));
        standing.vouch(7, ago(30_000));
        for (revision, believed) in [(8, true), (7, true), (6, false)] {
            assert_eq!(standing.believes(revision), believed, "{revision}");
        }
        let standing = long_standing();
        standing.vouch(7, ago(61_000));
        assert!(standing.believes(6), "the database was restored");
    }

    /// Streams that are given out in turn; whoever asks once more waits.
    struct Streams {
        streams: Mutex<Vec<Vec<i64>>>,
        asked: Arc<Mutex<Vec<i64>>>,
        taken: Arc<Mutex<Vec<(i64, i64)>>>,
    }

    #[async_trait]
    impl Watched for Streams {
        type Content = ();

        async fn open(&self, after_revision: i64) -> Result<Messages<()>> {
            self.asked.lock().expect("no panic").push(after_revision);
            let stream = self.streams.lock().expect("no panic").pop();
            let Some(revisions) = stream else { return std::future::pending().await };
            let heard = |revision| Ok(Heard { revision, elapsed: Duration::ZERO, content: () });
            Ok(stream::iter(revisions.into_iter().map(heard)).boxed())
        }

        async fn take(&self, known: i64, heard: Heard<()>) {
            self.taken.lock().expect("no panic").push((known, heard.revision));
        }
    }

    #[tokio::test]
    async fn streams_are_followed_one_after_the_other_and_those_that_lag_are_left() {
        let (asked, taken) = (Arc::<Mutex<_>>::default(), Arc::<Mutex<_>>::default());
        let streams = vec![vec![9, 10], vec![5, 20], vec![], vec![7, 7, 8]];
        let watched = Streams {
            streams: Mutex::new(streams),
            asked: Arc::clone(&asked),
            taken: Arc::clone(&taken),
        };
        let metrics = Metrics::new("test", "0");
        let following = Following::begin("test", watched, &metrics);
        assert_eq!((following.current(), following.newest()), (None, 0));
        while asked.lock().expect("no panic").len() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(*asked.lock().expect("no panic"), [0, 8, 8, 8, 10]);
        let expected = [(0, 7), (7, 7), (7, 8), (8, 9), (9, 10)];
        assert_eq!(*taken.lock().expect("no panic"), expected, "5 was out of date, and so 20");
    }
}
