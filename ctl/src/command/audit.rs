//! The audit trail.

use clap::{Args, Subcommand};
use mainstay::contract::audit::proto::{ListEventsRequest, VerifyRequest};
use mainstay::contract::audit::{self, AuditClient as _, GrpcAuditClient};

use super::Desk;
use crate::output::{self, Column, Show};
use crate::time::Time;

const COLUMNS: [Column; 6] = [
    ("SEQUENCE", "/sequence"),
    ("TIME", "/time"),
    ("ACTOR", "/actor"),
    ("ACTION", "/action"),
    ("RESOURCE", "/resource"),
    ("OUTCOME", "/outcome"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what happened, newest first
    List(List),
    /// Verify that the trail is as it was written; fails if it is not
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only what this actor did: `user:<id>`, `service:<name>` or platform
    #[arg(long)]
    actor: Option<String>,
    /// Only this action, such as operations.v1.OperationsService/DiscardDeadLetters
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this resource, such as `users/<id>`
    #[arg(long)]
    resource: Option<String>,
    /// Since then: how long ago, or a time
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Time>,
    /// The most records
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

pub(crate) async fn run(desk: &Desk, command: Command) -> anyhow::Result<()> {
    let client = GrpcAuditClient::new(desk.mesh.channel(audit::SERVICE)?);
    let client = client.with_bearer(&desk.token().await?);
    match command {
        Command::List(list) => events(desk, &client, list).await,
        Command::Verify => verify(desk, &client).await,
    }
}

async fn events(desk: &Desk, client: &GrpcAuditClient, list: List) -> anyhow::Result<()> {
    let mut request = ListEventsRequest {
        actor: list.actor.unwrap_or_default(),
        action: list.action.unwrap_or_default(),
        resource: list.resource.unwrap_or_default(),
        start_time: list.since.map(Into::into),
        end_time: list.until.map(Into::into),
        ..ListEventsRequest::default()
    };
    let mut events = Vec::new();
    while events.len() < list.limit {
        request.page_size = i32::try_from((list.limit - events.len()).min(200))?;
        let page = client.list_events(request.clone()).await?;
        for event in &page.events {
            events.push(output::json(event, Show::Redacted)?);
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    output::list(desk.settings.output, &COLUMNS, &events)
}

async fn verify(desk: &Desk, client: &GrpcAuditClient) -> anyhow::Result<()> {
    let verdict = client.verify(VerifyRequest {}).await?;
    output::one(desk.settings.output, &output::json(&verdict, Show::All)?)?;
    anyhow::ensure!(
        verdict.intact,
        "the trail is broken at record {}: {}; keep the database as it is and restore a backup beside it",
        verdict.first_broken_id,
        verdict.reason
    );
    Ok(())
}
