//! Permission decisions, kept for as long as nothing has changed that they follow from.
//!
//! The gateway asks for each call, and the service's own server asks again. Both ask here. A
//! decision is kept under its question **and the revision of roles and bindings** that was the newest
//! when it was asked for, so that with a newer revision it is not found any more, whoever drops it or
//! does not. Which revision is the newest is heard by a stream ([`Following`]); a decision is used
//! while that was certain within the last second ([`MAX_AGE`]), and not one moment longer. Without
//! the stream every question is asked, and what cannot be asked is not allowed.
//!
//! [`MAX_AGE`]: crate::kernel::watch::MAX_AGE

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use equivalent::Equivalent;
use moka::future::Cache;

use super::Authorizer;
use crate::kernel::error::{Error, Result, UNAVAILABLE};
use crate::kernel::telemetry::{CacheMetrics, Metrics};
use crate::kernel::watch::{Following, Heard, Messages, Watched};

/// The most decisions kept at once.
const MOST_DECISIONS: u64 = 100_000;

/// How long a decision is kept at most, changes or none.
const LONGEST: Duration = Duration::from_secs(30);

/// When to ask again for what could not be decided.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The answer to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The revision of roles and bindings that it follows from.
    pub revision: i64,
}

/// Who decides, and tells when decisions may have changed.
#[async_trait]
pub trait DecisionSource: Send + Sync + 'static {
    /// Decides by all that was committed before the call.
    async fn decide(&self, subject: &str, permission: &str, resource: &str) -> Result<Decision>;

    /// Tells the revision of roles and bindings, as [`Watched::open`] says.
    async fn watch(&self) -> Result<Messages<()>>;
}

/// [`Authorizer`] by asking a [`DecisionSource`] what is not known.
pub struct Decisions {
    source: Arc<dyn DecisionSource>,
    kept: Cache<Question, bool>,
    following: Following,
    metrics: CacheMetrics,
}

impl Decisions {
    /// Decisions of `source`, which is followed until this is dropped. Must be called within a Tokio
    /// runtime.
    pub fn of(source: impl DecisionSource, metrics: &Metrics) -> Self {
        let source: Arc<dyn DecisionSource> = Arc::new(source);
        let kept = Cache::builder().max_capacity(MOST_DECISIONS).time_to_live(LONGEST).build();
        let of_cache = metrics.cache("decisions");
        let revisions = Revisions {
            source: Arc::clone(&source),
            kept: kept.clone(),
            metrics: of_cache.clone(),
        };
        let following = Following::begin("decisions", revisions, metrics);
        Self { source, kept, following, metrics: of_cache }
    }

    async fn ask_and_keep(&self, asked: Asked<'_>) -> Result<bool> {
        self.metrics.miss();
        // Callers with the same question at the same time wait for one answer. Errors are not kept.
        let answer = self.kept.try_get_with(asked.to_owned(), self.ask(asked));
        answer.await.map_err(|error: Arc<Error>| unknown(error.to_string()))
    }

    /// Asks until the answer follows from what was the newest when it was asked for: a replica that
    /// lags behind is asked once more, which may reach another.
    async fn ask(&self, asked: Asked<'_>) -> Result<bool> {
        for _ in 0..2 {
            let newest = self.following.newest();
            let Asked { subject, permission, resource, .. } = asked;
            let decision = self.source.decide(subject, permission, resource).await?;
            if decision.revision >= newest {
                return Ok(decision.allowed);
            }
            tracing::debug!(revision = decision.revision, newest, "a decision is out of date");
        }
        Err(unknown("decisions are out of date".to_owned()))
    }
}

#[async_trait]
impl Authorizer for Decisions {
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool> {
        let question = |revision| Asked { subject, permission, resource, revision };
        let Some(revision) = self.following.current() else {
            self.metrics.bypass();
            return self.ask(question(0)).await.map_err(|error| unknown(error.to_string()));
        };
        let asked = question(revision);
        match self.kept.get(&asked).await {
            Some(allowed) => {
                self.metrics.hit();
                Ok(allowed)
            }
            None => self.ask_and_keep(asked).await,
        }
    }
}

/// Hears of revisions, and drops what no question finds any more.
struct Revisions {
    source: Arc<dyn DecisionSource>,
    kept: Cache<Question, bool>,
    metrics: CacheMetrics,
}

#[async_trait]
impl Watched for Revisions {
    type Content = ();

    async fn open(&self, _: i64) -> Result<Messages<()>> {
        self.source.watch().await
    }

    async fn take(&self, known: i64, heard: Heard<()>) {
        if heard.revision != known {
            self.kept.invalidate_all();
            self.metrics.drop_all();
        }
    }
}

/// What a decision is kept under.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    subject: String,
    permission: String,
    resource: String,
    revision: i64,
}

/// A [`Question`] as it is looked up, with nothing copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked<'a> {
    subject: &'a str,
    permission: &'a str,
    resource: &'a str,
    revision: i64,
}

impl Question {
    fn as_asked(&self) -> Asked<'_> {
        let Self { subject, permission, resource, revision } = self;
        Asked { subject, permission, resource, revision: *revision }
    }
}

impl Asked<'_> {
    fn to_owned(self) -> Question {
        Question {
            subject: self.subject.to_owned(),
            permission: self.permission.to_owned(),
            resource: self.resource.to_owned(),
            revision: self.revision,
        }
    }
}

/// As [`Asked`], so that one finds the other.
impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_asked().hash(state);
    }
}

impl Equivalent<Question> for Asked<'_> {
    fn equivalent(&self, question: &Question) -> bool {
        *self == question.as_asked()
    }
}

fn unknown(cause: String) -> Error {
    Error::new(UNAVAILABLE, "permissions cannot be checked right now")
        .retry_after(RETRY_AFTER)
        .because(anyhow::anyhow!(cause))
}

#[cfg(test)]
mod tests;
