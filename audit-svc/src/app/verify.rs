//! Verifying the trail.

use mainstay::kernel::Result;

use super::App;
use crate::domain::{Fault, Report, Verification};

impl App {
    /// Walks the whole chain, a batch at a time. Records appended meanwhile are left to the next
    /// verification.
    pub async fn verify(&self) -> Result<Report> {
        let mut verification = Verification::begin();
        let fault = self.first_fault(&mut verification).await?;
        let before_fault = fault.as_ref().map_or(i64::MAX, |fault| fault.sequence - 1);
        let verified_records = verification.position().min(before_fault);
        match &fault {
            Some(Fault { record_id, sequence, reason }) => tracing::error!(
                record_id,
                sequence,
                reason,
                verified_records,
                "the audit trail was tampered with"
            ),
            None => tracing::info!(verified_records, "the audit trail is intact"),
        }
        Ok(Report { verified_records, fault })
    }

    async fn first_fault(&self, verification: &mut Verification) -> Result<Option<Fault>> {
        let head = self.trail.head_read().await?;
        loop {
            let (after, limit) = (verification.position(), self.verify_batch_size);
            let batch = self.trail.chain_read(after, head.sequence, limit).await?;
            if batch.is_empty() {
                break;
            }
            for stored in &batch {
                if let Err(fault) = verification.check(stored) {
                    return Ok(Some(fault));
                }
            }
        }
        if let Err(fault) = verification.finish(&head) {
            return Ok(Some(fault));
        }
        let beyond = self.trail.chain_beyond_head().await?;
        Ok(beyond.as_ref().map(Verification::beyond_head))
    }
}
