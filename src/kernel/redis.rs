//! The memory that the processes of a platform share: Redis.
//!
//! One connection of a process carries the commands of all its callers at once. One task looks after
//! it: opens it, tries it when it is quiet, and opens another when it breaks. **Nobody waits for
//! Redis to come back**: while it is away every command fails at once, and none takes longer than
//! its time-out, so that what uses Redis does without it by a policy of its own. `docs/redis.md`
//! states the policy of each use. (The driver's own connection manager makes callers wait for the
//! reconnect; that is why it is not used.)
//!
//! Nothing here is the only copy of anything: what Redis loses is learned again, or was a count that
//! begins anew.

mod connect;
mod link;
mod subscription;
mod supervise;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, FromRedisValue, Pipeline, RedisResult, ScriptInvocation};
use tokio::task::AbortHandle;

use crate::kernel::error::{Error, Result};
use crate::kernel::settings::RedisSettings;
use crate::kernel::telemetry::Metrics;

pub(crate) use subscription::Subscription;

use link::{Link, Live};

/// A process's way to Redis. Cheap to clone; the connection ends with the last clone.
#[derive(Clone)]
pub struct Redis(Arc<Handle>);

struct Handle {
    link: Arc<Link>,
    supervisor: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Redis {
    /// The Redis of the settings; `None` if they name none. Returns at once, inside a runtime: the
    /// connection opens in the background.
    pub fn open(settings: &RedisSettings, metrics: Metrics) -> anyhow::Result<Option<Self>> {
        if !settings.is_set() {
            return Ok(None);
        }
        let link = Arc::new(Link::new(settings, metrics)?);
        let supervisor = tokio::spawn(supervise::supervise(Arc::clone(&link))).abort_handle();
        Ok(Some(Self(Arc::new(Handle { link, supervisor }))))
    }

    /// Waits until Redis is there, or has turned out to be away.
    pub async fn settled(&self) {
        self.0.link.settled().await;
    }

    /// Whether Redis answers, as far as is known.
    pub fn is_up(&self) -> bool {
        self.0.link.live().is_some()
    }

    /// The key, or channel, of a name: the platform's prefix is put in front.
    pub fn key(&self, name: impl fmt::Display) -> String {
        format!("{}:{name}", self.0.link.settings.prefix)
    }

    /// Counts that a use did without Redis.
    pub(crate) fn fell_back(&self, purpose: &'static str) {
        self.0.link.metrics.redis_fallback(purpose);
    }

    /// Runs a command within `redis.command_timeout`. `UNAVAILABLE` when there is no answer.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.query_within(self.0.link.settings.command_timeout, command).await
    }

    /// As [`Redis::query`], for work in the background that may take longer.
    pub(crate) async fn query_within<T: FromRedisValue>(
        &self,
        patience: Duration,
        command: &Cmd,
    ) -> Result<T> {
        let live = self.live()?;
        let mut connection = live.connection.clone();
        finish(&live, patience, command.query_async(&mut connection)).await
    }

    /// Runs a script within `redis.command_timeout`, in one round trip unless Redis has to be told
    /// its text first. `UNAVAILABLE` when there is no answer.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T> {
        self.invoke_within(self.0.link.settings.command_timeout, script).await
    }

    /// As [`Redis::invoke`], for work in the background that may take longer.
    pub(crate) async fn invoke_within<T: FromRedisValue>(
        &self,
        patience: Duration,
        script: &ScriptInvocation<'_>,
    ) -> Result<T> {
        let live = self.live()?;
        let mut connection = live.connection.clone();
        finish(&live, patience, script.invoke_async(&mut connection)).await
    }

    /// Runs several commands.
    pub(crate) async fn pipeline_within<T: FromRedisValue>(
        &self,
        patience: Duration,
        commands: &Pipeline,
    ) -> Result<T> {
        let live = self.live()?;
        let mut connection = live.connection.clone();
        finish(&live, patience, commands.query_async(&mut connection)).await
    }

    /// A connection of the caller's own, to wait on.
    pub(crate) async fn waiter(&self) -> Result<Waiter> {
        let link = &self.0.link;
        let opened = connect::connection(&link.client, link.settings.connect_timeout).await;
        opened.map(Waiter).map_err(|error| away().because(error))
    }

    /// What is published on a channel from now on.
    pub(crate) fn subscribe(&self, channel: &str) -> Subscription {
        Subscription::new(Arc::clone(&self.0.link), channel)
    }

    fn live(&self) -> Result<Arc<Live>> {
        self.0.link.live().ok_or_else(away)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Redis")
            .field("prefix", &self.0.link.settings.prefix)
            .field("is_up", &self.is_up())
            .finish_non_exhaustive()
    }
}

/// A connection for commands that wait in Redis, such as `XREAD BLOCK`, which hold back whatever
/// comes behind them.
pub(crate) struct Waiter(MultiplexedConnection);

impl Waiter {
    /// Runs a command. `UNAVAILABLE` when there is no answer.
    pub(crate) async fn query<T: FromRedisValue>(
        &mut self,
        patience: Duration,
        command: &Cmd,
    ) -> Result<T> {
        let answer = tokio::time::timeout(patience, command.query_async(&mut self.0)).await;
        let answer = answer.map_err(|_| away())?;
        answer.map_err(|error| away().because(error))
    }
}

/// The answer of the driver, or what it means that there is none. A connection that gave no answer
/// in time is given up: the next caller does not wait for it.
async fn finish<T>(
    live: &Live,
    patience: Duration,
    answer: impl Future<Output = RedisResult<T>>,
) -> Result<T> {
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            if connect::is_broken(&error) {
                live.give_up();
            }
            Err(away().because(error))
        }
        Err(_) => {
            live.give_up();
            Err(away().because(anyhow::anyhow!("redis gave no answer within {patience:?}")))
        }
    }
}

fn away() -> Error {
    Error::unavailable("the shared memory is away")
}
