//! Sessions that ended before their tokens expired.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use super::{LEEWAY_SECONDS, MAX_TOKEN_SECONDS, RevocationSource, Revocations};
use crate::kernel::error::{Error, Result};

/// How long an ended session is remembered: until no token of it can be valid.
pub(super) const REMEMBERED: Duration = Duration::from_secs(MAX_TOKEN_SECONDS + LEEWAY_SECONDS);

/// How often we ask while nothing has arrived at all.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);

/// How long the source may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// The source of those who issue no sessions that could end early.
pub(super) struct NothingRevoked;

#[async_trait]
impl RevocationSource for NothingRevoked {
    async fn revocations(&self, _: Option<SystemTime>) -> Result<Revocations> {
        Ok(Revocations { session_ids: Vec::new(), as_of: SystemTime::now() })
    }
}

/// The sessions, by id.
pub(super) struct RevokedSessions {
    source: Arc<dyn RevocationSource>,
    /// When each was heard of.
    current: ArcSwapOption<HashMap<String, Instant>>,
    /// Says that `current` has changed.
    news: watch::Sender<()>,
    /// Held while the source is asked, so that many callers ask once.
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    asked: Option<Instant>,
    as_of: Option<SystemTime>,
}

impl RevokedSessions {
    pub(super) fn new(source: Arc<dyn RevocationSource>) -> Self {
        let (news, _) = watch::channel(());
        Self { source, current: ArcSwapOption::empty(), news, progress: Mutex::default() }
    }

    /// Whether a session is over. `UNAVAILABLE` before the first answer of the source.
    pub(super) async fn contains(&self, session_id: &str) -> Result<bool> {
        if self.current.load().is_none() {
            self.first().await?;
        }
        Ok(self.has(session_id))
    }

    /// Waits until it is heard that a session is over.
    pub(super) async fn ended(&self, session_id: &str) {
        let mut news = self.news.subscribe();
        while !self.has(session_id) {
            // Fails only without a sender, which is ours.
            let _ = news.changed().await;
        }
    }

    fn has(&self, session_id: &str) -> bool {
        self.current.load().as_ref().is_some_and(|ended| ended.contains_key(session_id))
    }

    /// Waits until the source knows of something new.
    pub(super) async fn changed(&self) {
        self.source.changed().await;
    }

    /// Asks the source what ended since it was asked before.
    pub(super) async fn refresh(&self) -> Result<()> {
        let mut progress = self.progress.lock().await;
        self.fetch(&mut progress).await
    }

    async fn first(&self) -> Result<()> {
        let mut progress = self.progress.lock().await;
        if self.current.load().is_some() {
            return Ok(());
        }
        let unknown = "ended sessions are not known yet";
        if progress.asked.is_some_and(|asked| asked.elapsed() < FIRST_INTERVAL) {
            return Err(Error::unavailable(unknown));
        }
        self.fetch(&mut progress).await.map_err(|error| Error::unavailable(unknown).because(error))
    }

    async fn fetch(&self, progress: &mut Progress) -> Result<()> {
        let now = Instant::now();
        progress.asked = Some(now);
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.source.revocations(progress.as_of));
        let Revocations { session_ids, as_of } =
            fetched.await.map_err(|_| Error::unavailable("timed out"))??;
        let before = self.current.load_full();
        let is_new = |id: &String| before.as_ref().is_none_or(|known| !known.contains_key(id));
        let is_stale = |heard: &Instant| now.duration_since(*heard) > REMEMBERED;
        let has_stale = before.as_ref().is_some_and(|known| known.values().any(is_stale));
        if before.is_none() || has_stale || session_ids.iter().any(is_new) {
            let mut ended = before.map(|known| (*known).clone()).unwrap_or_default();
            ended.retain(|_, heard| !is_stale(heard));
            ended.extend(session_ids.into_iter().map(|id| (id, now)));
            self.current.store(Some(Arc::new(ended)));
            self.news.send_replace(());
        }
        progress.as_of = Some(as_of);
        Ok(())
    }
}
