//! The tables of jobs. Times are Unix microseconds; 0 stands for none.
//!
//! | table | one row for each |
//! |---|---|
//! | `job` | job that waits, runs or has failed for good |
//! | `job_schedule` | job that is due by itself |
//! | `job_run` | run that has ended |

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, Index, Table, TableCreateStatement};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// Creates the tables.
pub(super) struct CreateJobs;

impl MigrationName for CreateJobs {
    fn name(&self) -> &str {
        "kernel_0101_create_jobs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateJobs {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(job()).await?;
        let due = Index::create().name("job_due").table("job").col("run_after").take();
        manager.create_index(due).await?;
        // No two NULLs are equal: jobs without a key do not meet here.
        let unique = Index::create()
            .name("job_unique_key")
            .table("job")
            .col("name")
            .col("unique_key")
            .unique()
            .take();
        manager.create_index(unique).await?;
        manager.create_table(job_schedule()).await?;
        manager.create_table(job_run()).await?;
        let finished =
            Index::create().name("job_run_finished").table("job_run").col("finished_at").take();
        manager.create_index(finished).await
    }
}

/// Adds what tracing systems add to a trace. Whoever does not know it writes none.
pub(super) struct AddTracestate;

impl MigrationName for AddTracestate {
    fn name(&self) -> &str {
        "kernel_0102_add_job_tracestate"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddTracestate {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = Table::alter().table("job").add_column(text("tracestate")).take();
        manager.alter_table(add).await
    }
}

fn job() -> TableCreateStatement {
    Table::create()
        .table("job")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(text("name"))
        .col(ColumnDef::new("unique_key").text())
        .col(text("payload"))
        .col(flag("scheduled"))
        // `waiting`, which a live lease makes running, or `failed`.
        .col(text("state"))
        .col(number("run_after"))
        .col(number("created_at"))
        // Runs that count towards the most allowed.
        .col(small("attempts"))
        // Failures since the last success of waiting: what the back-off grows by.
        .col(small("failures"))
        .col(number("failing_since"))
        // Whether the last run failed because something was away.
        .col(flag("outage"))
        .col(text("last_error"))
        // Grows with each claim; what ends a run is conditional on it.
        .col(number("epoch"))
        .col(ColumnDef::new("owner").uuid())
        .col(number("started_at"))
        .col(number("lease_until"))
        .col(text("actor"))
        .col(text("request_id"))
        .col(text("traceparent"))
        .take()
}

fn job_schedule() -> TableCreateStatement {
    Table::create()
        .table("job_schedule")
        .col(ColumnDef::new("name").text().not_null().primary_key())
        .col(text("spec"))
        .col(number("next_at"))
        .take()
}

fn job_run() -> TableCreateStatement {
    Table::create()
        .table("job_run")
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("job_id").uuid().not_null())
        .col(text("name"))
        .col(number("epoch"))
        .col(number("started_at"))
        .col(number("finished_at"))
        .col(text("outcome"))
        .col(text("error"))
        .take()
}

fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().default("").take()
}

fn number(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().default(0i64).take()
}

fn small(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).integer().not_null().default(0i32).take()
}

fn flag(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).boolean().not_null().default(false).take()
}
