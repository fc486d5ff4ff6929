//! Verification in the background: the checkpoint that follows the chain, and the pass that walks it
//! from its beginning again and again.

use std::time::Duration;

use mainstay::kernel::Result;

use super::App;
use super::verify::{Until, Walk, log};
use crate::domain::{Finding, Head, MarkKind, Report, Verification};

/// How long one run walks before it notes how far it came: the most that a run which is cut off
/// does anew.
const SLICE: Duration = Duration::from_secs(20);

impl App {
    /// Moves the checkpoint on to the newest record that is good. A checkpoint that was tampered
    /// with stays where it is: `verify` tells of it.
    pub async fn checkpoint_extend(
        &self,
        stopped: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<()> {
        let last = match self.trail.mark_read(MarkKind::Checkpoint).await? {
            Some(mark) => match self.checkpoint_fault(&mark).await? {
                None => mark.last,
                Some(fault) => {
                    let (sequence, reason) = (fault.sequence, fault.reason);
                    tracing::error!(sequence, reason, "the checkpoint of the trail does not hold");
                    return Ok(());
                }
            },
            None => Head::genesis(),
        };
        let (begin, head) = (last.sequence, self.trail.head_read().await?);
        let mut verification = Verification::resume(last);
        loop {
            let until = Until { stopped, ..self.until(SLICE) };
            let walk = self.walk(&mut verification, head.sequence, &until).await?;
            let last = verification.last();
            if last.sequence > begin {
                let (sequence, hash) = (last.sequence, last.hash.to_string());
                self.trail
                    .mark_write(MarkKind::Checkpoint, &self.sealed(MarkKind::Checkpoint, last))
                    .await?;
                // Logs are kept elsewhere: this line is what an edited database cannot take back.
                tracing::info!(sequence, hash, "the checkpoint of the trail moved on");
            }
            match walk {
                Walk::OutOfTime if !stopped() => {}
                // What is broken behind the checkpoint every call finds by itself.
                Walk::OutOfTime | Walk::Arrived | Walk::Broken(_) => return Ok(()),
            }
        }
    }

    /// Walks the chain from its beginning, or from where the pass stands that was cut off, and notes
    /// what it finds.
    pub async fn chain_verify(&self, stopped: &(dyn Fn() -> bool + Send + Sync)) -> Result<()> {
        let head = self.trail.head_read().await?;
        let mut verification = match self.mark(MarkKind::Pass).await? {
            Some(mark) => Verification::resume(mark.last),
            None => Verification::begin(),
        };
        loop {
            let until = Until { stopped, ..self.until(SLICE) };
            let fault = match self.walk(&mut verification, head.sequence, &until).await? {
                Walk::Broken(fault) => Some(fault),
                Walk::Arrived => self.whole_fault(&verification, &head).await?,
                Walk::OutOfTime => {
                    let pass = self.sealed(MarkKind::Pass, verification.last());
                    self.trail.mark_write(MarkKind::Pass, &pass).await?;
                    if stopped() {
                        return Ok(());
                    }
                    continue;
                }
            };
            let report = match fault {
                Some(fault) => Report::broken(&verification, fault),
                None => Report::intact(verification.position()),
            };
            log(&report);
            let ended = self.sealed(MarkKind::Verified, verification.last());
            let verified_records = report.verified_records;
            let finding = report.fault.map(|fault| Finding { fault, verified_records });
            return self.trail.pass_end(&ended, finding.as_ref()).await;
        }
    }
}
