//! Sagas that do not get on.

use std::time::Duration;

use clap::{Args, Subcommand};
use mainstay::contract::operations::OperationsClient as _;
use mainstay::contract::operations::proto::{
    AbortSagaRequest, ListStuckSagasRequest, ResumeSagaRequest,
};

use super::{Desk, confirm};
use crate::output::{self, Column, Show};
use crate::time::parse_duration;

const COLUMNS: [Column; 7] = [
    ("SERVICE", "/service"),
    ("NAME", "/name"),
    ("ID", "/id"),
    ("STATE", "/state"),
    ("STEP", "/step"),
    ("FAILING SINCE", "/failing_since"),
    ("ERROR", "/last_error"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List sagas whose step fails, or which nothing moves on; the oldest first
    Stuck {
        /// Only of this service
        #[arg(long)]
        service: Option<String>,
        /// Only those that have been failing for so long, such as 10m
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        stuck_for: Option<Duration>,
    },
    /// Try a saga's step at once
    Resume(Which),
    /// Turn a saga back: what was done is undone
    Abort {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which saga is meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The service that runs it
    service: String,
    /// Its name
    name: String,
    /// Its id
    id: String,
}

pub(crate) async fn run(desk: &Desk, command: Command) -> anyhow::Result<()> {
    let form = desk.settings.output;
    match command {
        Command::Stuck { service, stuck_for } => stuck(desk, service, stuck_for).await,
        Command::Resume(Which { service, name, id: saga_id }) => {
            let client = desk.mesh.operations(&service)?;
            let saga = client.resume_saga(ResumeSagaRequest { name, saga_id }).await?;
            output::one(form, &output::json(&saga, Show::All)?)
        }
        Command::Abort { which: Which { service, name, id: saga_id }, yes } => {
            confirm(yes, &format!("turn back {name} {saga_id} of {service}"))?;
            let client = desk.mesh.operations(&service)?;
            let saga = client.abort_saga(AbortSagaRequest { name, saga_id }).await?;
            output::one(form, &output::json(&saga, Show::All)?)
        }
    }
}

async fn stuck(
    desk: &Desk,
    service: Option<String>,
    stuck_for: Option<Duration>,
) -> anyhow::Result<()> {
    let stuck_for = stuck_for.map(prost_types::Duration::try_from).transpose()?;
    let mut sagas = Vec::new();
    for service in desk.mesh.services(service.as_deref()).await? {
        let request = ListStuckSagasRequest { stuck_for, page_size: 200 };
        let found = desk.mesh.operations(&service)?.list_stuck_sagas(request).await?;
        for saga in &found.sagas {
            sagas.push(output::of_service(&service, output::json(saga, Show::All)?));
        }
    }
    output::list(desk.settings.output, &COLUMNS, &sagas)
}
