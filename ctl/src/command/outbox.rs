//! Events that wait to be published.

use mainstay::contract::operations::OperationsClient as _;
use mainstay::contract::operations::proto::GetOutboxRequest;

use super::Desk;
use crate::cli::Form;
use crate::output::{self, Column, Show};

const COLUMNS: [Column; 3] =
    [("SERVICE", "/service"), ("BACKLOG", "/backlog"), ("OLDEST", "/oldest_time")];

const FAILING: [Column; 5] = [
    ("FAILING EVENT", "/event_id"),
    ("TOPIC", "/topic"),
    ("ATTEMPTS", "/attempts"),
    ("NEXT", "/next_time"),
    ("REASON", "/reason"),
];

pub(super) async fn status(desk: &Desk, service: Option<String>) -> anyhow::Result<()> {
    let mut outboxes = Vec::new();
    for service in desk.mesh.services(service.as_deref()).await? {
        let outbox = desk.mesh.operations(&service)?.get_outbox(GetOutboxRequest {}).await?;
        let backlog = outbox.backlog;
        let mut outbox = output::json(&outbox, Show::All)?;
        // Nothing waiting is an answer too.
        outbox["backlog"] = backlog.to_string().into();
        outboxes.push(outbox);
    }
    output::list(desk.settings.output, &COLUMNS, &outboxes)?;
    let failing: Vec<_> = outboxes
        .iter()
        .filter_map(|outbox| outbox["failing"].as_array())
        .flatten()
        .cloned()
        .collect();
    if desk.settings.output == Form::Table && !failing.is_empty() {
        output::print("")?;
        output::list(Form::Table, &FAILING, &failing)?;
    }
    Ok(())
}
