//! What is known of the connection, shared by its users and by the task that looks after it.

use std::sync::Arc;

use ::redis::Client;
use ::redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connect;
use crate::kernel::settings::RedisSettings;
use crate::kernel::telemetry::Metrics;

/// The connection and how to get another.
pub(super) struct Link {
    pub(super) settings: RedisSettings,
    pub(super) client: Client,
    pub(super) metrics: Metrics,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    /// Nobody has tried yet.
    Starting,
    Away,
    Up(Arc<Live>),
}

/// A connection that works, until somebody finds that it does not.
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    broken: CancellationToken,
}

impl Link {
    pub(super) fn new(settings: &RedisSettings, metrics: Metrics) -> anyhow::Result<Self> {
        let client = connect::client(settings)?;
        let (state, _) = watch::channel(State::Starting);
        Ok(Self { settings: settings.clone(), client, metrics, state })
    }

    /// The connection, if there is one.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.state.borrow().live()
    }

    /// Waits for the outcome of the first attempt.
    pub(super) async fn settled(&self) {
        let mut state = self.state.subscribe();
        // The sender is ours, so that there is an end to wait for.
        let _ = state.wait_for(|state| !matches!(state, State::Starting)).await;
    }

    /// Waits for a connection.
    pub(super) async fn up(&self) -> Option<Arc<Live>> {
        let mut state = self.state.subscribe();
        let found = state.wait_for(|state| state.live().is_some()).await.ok()?;
        found.live()
    }

    pub(super) fn appeared(&self, live: &Arc<Live>) {
        self.metrics.redis_away(false);
        self.state.send_replace(State::Up(Arc::clone(live)));
    }

    pub(super) fn disappeared(&self) {
        self.metrics.redis_away(true);
        self.state.send_replace(State::Away);
    }
}

impl State {
    fn live(&self) -> Option<Arc<Live>> {
        match self {
            Self::Up(live) if !live.broken.is_cancelled() => Some(Arc::clone(live)),
            _ => None,
        }
    }
}

impl Live {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, broken: CancellationToken::new() }
    }

    /// Nobody uses the connection from now on.
    pub(super) fn give_up(&self) {
        self.broken.cancel();
    }

    /// Waits until somebody has given the connection up.
    pub(super) async fn given_up(&self) {
        self.broken.cancelled().await;
    }
}
