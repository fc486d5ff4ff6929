//! What keeps a verifier up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Verifier;

/// How often keys are fetched.
const KEYS_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How soon keys are fetched again after a failure.
const KEYS_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How soon keys are fetched again while there are none.
const FIRST_KEYS_INTERVAL: Duration = Duration::from_millis(500);

/// How often ended sessions are asked for.
const REVOCATIONS_INTERVAL: Duration = Duration::from_millis(500);

impl Verifier {
    /// Fetches keys every 5 minutes and ended sessions every 500 ms, or when their source says that
    /// there are new ones, until `shutdown`.
    pub fn spawn_refresh(self: &Arc<Self>, shutdown: CancellationToken) {
        let (verifier, stop) = (self.clone(), shutdown.clone());
        tokio::spawn(async move { stop.run_until_cancelled(verifier.refresh_keys()).await });
        let verifier = self.clone();
        tokio::spawn(
            async move { shutdown.run_until_cancelled(verifier.refresh_revocations()).await },
        );
    }

    async fn refresh_keys(&self) {
        loop {
            let pause = match self.keys.refresh().await {
                Ok(()) => KEYS_INTERVAL,
                Err(error) if self.keys.are_there() => {
                    tracing::warn!(%error, "token keys could not be refreshed, the last ones hold");
                    KEYS_RETRY_INTERVAL
                }
                Err(_) => FIRST_KEYS_INTERVAL,
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn refresh_revocations(&self) {
        // As with keys, that there are none yet is for the readiness of the process to say.
        let mut is_away = true;
        loop {
            let result = self.revoked.refresh().await;
            match &result {
                Err(error) if !is_away => {
                    tracing::warn!(%error, "ended sessions could not be fetched, the last ones hold");
                }
                Ok(()) if is_away => tracing::info!("ended sessions are fetched"),
                _ => {}
            }
            is_away = result.is_err();
            tokio::select! {
                () = tokio::time::sleep(REVOCATIONS_INTERVAL) => {}
                () = self.revoked.changed() => {}
            }
        }
    }
}
