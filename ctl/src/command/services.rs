//! Which instances of which services there are, and how they are.

use std::time::Duration;

use futures::future::join_all;
use mainstay::kernel::registry::Instance;
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Desk;
use crate::output::{self, Column};

/// How long an instance may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);

const COLUMNS: [Column; 6] = [
    ("SERVICE", "/service"),
    ("ADDRESS", "/address"),
    ("VERSION", "/version"),
    ("CONTRACTS", "/contracts"),
    ("HEALTH", "/health"),
    ("INSTANCE", "/id"),
];

pub(super) async fn list(desk: &Desk) -> anyhow::Result<()> {
    let snapshot = desk.mesh.snapshot().await;
    let instances = snapshot.values().flatten().map(|instance| show(desk, instance));
    let instances: Vec<Value> = join_all(instances).await;
    output::list(desk.settings.output, &COLUMNS, &instances)
}

async fn show(desk: &Desk, instance: &Instance) -> Value {
    let health = match instance.descriptor_hash.is_empty() {
        // The edge speaks HTTP: its admin port tells how it is.
        true => "unknown",
        false => health(desk, instance).await,
    };
    let contracts: String = instance.descriptor_hash.chars().take(12).collect();
    json!({
        "service": instance.service,
        "id": instance.id,
        "address": instance.address,
        "version": instance.version,
        "descriptor_hash": instance.descriptor_hash,
        "contracts": contracts,
        "health": health,
    })
}

async fn health(desk: &Desk, instance: &Instance) -> &'static str {
    let Ok(channel) = desk.mesh.channel_to(instance) else { return "unreachable" };
    let mut client = HealthClient::new(channel);
    let check = client.check(HealthCheckRequest::default());
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(Ok(reply)) => match reply.into_inner().status() {
            ServingStatus::Serving => "serving",
            ServingStatus::NotServing => "not serving",
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => "unknown",
        },
        _ => "unreachable",
    }
}
