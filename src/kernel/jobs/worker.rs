//! A background task of the process: it can be watched, and stopped in order.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A background task. Dropping it stops it at once; [`Worker::stop`] lets it finish.
pub struct Worker {
    name: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts a task, which ends soon after its token is cancelled.
    pub(crate) fn spawn<F, Fut>(name: impl Into<String>, run: F) -> Self
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { name: name.into(), task: tokio::spawn(run(stop.clone())), stop }
    }

    /// Its name, such as `relay` or `identity-svc.accounts`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it still works. One that died makes the process unready.
    pub fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }

    /// Asks it to stop, and waits until what is under way is finished.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(worker = self.name, %error, "background task died");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}
