//! The kernel's own jobs, which run in every service that has a database.
//!
//! The outbox needs none where a relay publishes it: its rows go when they are published.

use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};

use super::definition::Job;
use super::history;
use crate::kernel::database::Database;
use crate::kernel::error::Result;
use crate::kernel::events::{dead_letter, inbox, micros, now_micros, prune_captured, tried};
use crate::kernel::saga;
use crate::kernel::settings::{EventSettings, JobSettings};

/// Forgets what consumers handled, or tried, so long ago that the bus cannot deliver it again, and
/// dead letters about which was decided long ago.
const PRUNE_INBOX: (&str, &str) = ("kernel.prune-inbox", "23 * * * *");
/// Forgets runs of jobs, jobs that failed long ago and sagas that finished long ago.
const PRUNE_JOBS: (&str, &str) = ("kernel.prune-jobs", "41 * * * *");

/// Deletes rows of the outbox that change data capture has carried to the broker.
const PRUNE_OUTBOX: (&str, &str) = ("kernel.prune-outbox", "*/10 * * * *");

/// The kernel's own jobs on a service's database.
pub(crate) fn kernel_jobs(
    database: &Database,
    inbox_retention: Duration,
    events: &EventSettings,
    jobs: &JobSettings,
) -> Vec<Job> {
    let (inbox, own, settings) = (database.clone(), database.clone(), jobs.clone());
    let letter_retention = events.dead_letter_retention;
    let prune_inbox = Job::new(PRUNE_INBOX.0, move |_| {
        let database = inbox.clone();
        async move {
            inbox::prune(&database, inbox_retention).await?;
            tried::prune(&database, inbox_retention).await?;
            dead_letter::prune(&database, letter_retention).await
        }
    });
    let prune_jobs = Job::new(PRUNE_JOBS.0, move |_| {
        let (database, settings) = (own.clone(), settings.clone());
        async move {
            history::prune(&database, settings.history_retention, settings.history_limit).await?;
            prune_failed(&database, settings.failed_retention).await?;
            saga::prune(&database, settings.failed_retention).await
        }
    });
    let mut own_jobs = vec![prune_inbox.cron(PRUNE_INBOX.1), prune_jobs.cron(PRUNE_JOBS.1)];
    if !events.relay {
        own_jobs.push(prune_outbox(database, events.outbox_retention));
    }
    own_jobs
}

fn prune_outbox(database: &Database, retention: Duration) -> Job {
    let database = database.clone();
    let job = Job::new(PRUNE_OUTBOX.0, move |_| {
        let database = database.clone();
        async move { prune_captured(&database, retention).await.map(|_| ()) }
    });
    job.cron(PRUNE_OUTBOX.1)
}

async fn prune_failed(database: &Database, retention: Duration) -> Result<()> {
    let before = now_micros().saturating_sub(micros(retention));
    let delete = Query::delete()
        .from_table("job")
        .and_where(Expr::col("state").eq("failed"))
        .and_where(Expr::col("created_at").lt(before))
        .take();
    let open = database.begin_own().await?;
    let removed = open.connection().execute(&delete).await?.rows_affected();
    open.commit().await?;
    if removed > 0 {
        tracing::warn!(jobs = removed, "jobs that failed long ago were forgotten");
    }
    Ok(())
}
