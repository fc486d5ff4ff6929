//! Verifying the trail.
//!
//! A call walks the chain from its beginning for as long as its budget lasts. A chain that is longer
//! than that it takes as good up to the sealed checkpoint, unless the verification in the background
//! has found something; what is behind the checkpoint it walks itself.

use std::time::{Duration, Instant};

use chrono::Utc;
use mainstay::kernel::{Error, Result};

use super::App;
use crate::domain::{Fault, Finding, Head, Mark, MarkKind, Report, Verification};

/// How far a walk goes.
pub(super) enum Walk {
    /// Up to the end that was aimed for.
    Arrived,
    /// Until the time was over.
    OutOfTime,
    /// Up to something that is wrong.
    Broken(Fault),
}

/// When a walk has to end.
pub(super) struct Until<'a> {
    pub(super) deadline: Instant,
    pub(super) stopped: &'a (dyn Fn() -> bool + Send + Sync),
}

impl App {
    /// What is known of the whole chain. Records appended meanwhile are left to the next
    /// verification.
    pub async fn verify(&self) -> Result<Report> {
        let head = self.trail.head_read().await?;
        let mut verification = Verification::begin();
        let budget = self.until(self.rules.verify_budget);
        let report = match self.walk(&mut verification, head.sequence, &budget).await? {
            Walk::Broken(fault) => Report::broken(&verification, fault),
            Walk::Arrived => match self.whole_fault(&verification, &head).await? {
                Some(fault) => Report::broken(&verification, fault),
                None => Report::intact(verification.position()),
            },
            Walk::OutOfTime => self.verify_from_checkpoint().await?,
        };
        log(&report);
        Ok(report)
    }

    /// The chain is too long for one call: what the background found, and what is newer.
    async fn verify_from_checkpoint(&self) -> Result<Report> {
        let verified = self.mark(MarkKind::Verified).await?;
        let background_verify_time = verified.map(|mark| mark.time);
        if let Some(Finding { fault, verified_records }) = self.trail.finding_read().await? {
            let fault = Some(fault);
            return Ok(Report { verified_records, fault, checkpoint: 0, background_verify_time });
        }
        let checkpoint = self.trail.mark_read(MarkKind::Checkpoint).await?;
        let checkpoint =
            checkpoint.unwrap_or_else(|| self.sealed(MarkKind::Checkpoint, Head::genesis()));
        // Read behind the checkpoint, which moves on meanwhile and never stands beyond a later head.
        let head = self.trail.head_read().await?;
        let mut verification = Verification::resume(checkpoint.last.clone());
        let fault = match self.checkpoint_fault(&checkpoint).await? {
            Some(fault) => Some(fault),
            None => match self.walk(&mut verification, head.sequence, &self.tail_time()).await? {
                Walk::Broken(fault) => Some(fault),
                Walk::Arrived => self.end_fault(&verification, &head).await?,
                Walk::OutOfTime => return Err(behind()),
            },
        };
        let checkpoint = checkpoint.last.sequence;
        let report = match fault {
            Some(fault) => Report::broken(&verification, fault),
            None => Report::intact(verification.position()),
        };
        Ok(Report { checkpoint, background_verify_time, ..report })
    }

    /// What is wrong with a chain that was walked from its beginning: its end, or that it is not the
    /// one that was sealed.
    pub(super) async fn whole_fault(
        &self,
        verification: &Verification,
        head: &Head,
    ) -> Result<Option<Fault>> {
        if let Some(fault) = self.end_fault(verification, head).await? {
            return Ok(Some(fault));
        }
        match self.trail.mark_read(MarkKind::Checkpoint).await? {
            Some(checkpoint) => self.checkpoint_fault(&checkpoint).await,
            None => Ok(None),
        }
    }

    /// Walks on until the place `last`.
    pub(super) async fn walk(
        &self,
        verification: &mut Verification,
        last: i64,
        until: &Until<'_>,
    ) -> Result<Walk> {
        loop {
            if Instant::now() >= until.deadline || (until.stopped)() {
                return Ok(Walk::OutOfTime);
            }
            let after = verification.position();
            let batch = self.trail.chain_read(after, last, self.rules.verify_batch_size).await?;
            if batch.is_empty() {
                return Ok(Walk::Arrived);
            }
            for stored in &batch {
                if let Err(fault) = verification.check(stored) {
                    return Ok(Walk::Broken(fault));
                }
            }
        }
    }

    /// What is wrong with the end of a chain that was walked up to the head.
    pub(super) async fn end_fault(
        &self,
        verification: &Verification,
        head: &Head,
    ) -> Result<Option<Fault>> {
        if let Err(fault) = verification.finish(head) {
            return Ok(Some(fault));
        }
        let beyond = self.trail.chain_beyond_head().await?;
        Ok(beyond.as_ref().map(Verification::beyond_head))
    }

    /// What is wrong with a checkpoint: it was moved, or the record in its place was replaced.
    pub(super) async fn checkpoint_fault(&self, checkpoint: &Mark) -> Result<Option<Fault>> {
        let last = &checkpoint.last;
        if !self.sealer.holds(MarkKind::Checkpoint, checkpoint) {
            return Ok(Some(Verification::unsealed(last)));
        }
        if *last == Head::genesis() {
            return Ok(None);
        }
        let stored = self.trail.chain_read(last.sequence - 1, last.sequence, 1).await?;
        Ok(Verification::at_mark(last, stored.first()).err())
    }

    /// A mark that this service has sealed; others are as good as none.
    pub(super) async fn mark(&self, kind: MarkKind) -> Result<Option<Mark>> {
        let mark = self.trail.mark_read(kind).await?;
        Ok(mark.filter(|mark| self.sealer.holds(kind, mark)))
    }

    pub(super) fn until(&self, time: Duration) -> Until<'static> {
        Until { deadline: Instant::now() + time, stopped: &|| false }
    }

    /// What is left of a call for the records behind the checkpoint.
    fn tail_time(&self) -> Until<'static> {
        self.until(self.rules.tail_budget)
    }

    pub(super) fn sealed(&self, kind: MarkKind, last: Head) -> Mark {
        let now = chrono::SubsecRound::trunc_subsecs(Utc::now(), 6);
        self.sealer.mark(kind, last, now)
    }
}

/// So much was appended since the last checkpoint that one call cannot walk it.
fn behind() -> Error {
    Error::unavailable("the checkpoint of the trail is behind; it moves on every minute")
}

pub(super) fn log(report: &Report) {
    let Report { verified_records, checkpoint, .. } = report;
    match &report.fault {
        Some(Fault { record_id, sequence, reason }) => tracing::error!(
            record_id,
            sequence,
            reason,
            verified_records,
            "the audit trail was tampered with"
        ),
        None => tracing::info!(verified_records, checkpoint, "the audit trail is intact"),
    }
}
