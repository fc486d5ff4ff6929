//! Reports of the payment provider.

use chrono::Duration;
use mainstay::kernel::Result;

use super::{App, now};

/// How long it is remembered that a report was seen. Stripe delivers again for three days.
const REPORT_MEMORY: Duration = Duration::days(30);

impl App {
    /// Takes in a report if its signature is good; returns whether it changed anything.
    pub async fn report_receive(&self, payload: &[u8], signature: &str) -> Result<bool> {
        let now = now();
        let report = self.verifier.verify(payload, signature, now)?;
        let applied = self.store.report_apply(&report, now).await?;
        tracing::info!(
            report = report.id,
            kind = report.kind,
            applied,
            "payment provider reported"
        );
        Ok(applied)
    }

    /// Forgets reports that the provider no longer repeats.
    pub async fn report_prune(&self) -> Result<()> {
        let pruned = self.store.report_prune(now() - REPORT_MEMORY).await?;
        tracing::debug!(pruned, "old reports of the payment provider forgotten");
        Ok(())
    }
}
