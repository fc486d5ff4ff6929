//! The agent's JSON. It decodes strictly, so that a field that is not stated is not sent: not even
//! as `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernel::registry::Instance;
use crate::kernel::settings::{ConsulCheck, ConsulSettings};

/// An unhealthy process that reports its own health is noticed after so many intervals.
const INTERVALS_TO_LIVE: u32 = 5;

/// So many failed probes in a row are forgiven before an instance is passed over: on a busy machine
/// one may be late. An instance that is gone is left out by those who call it, long before.
const FAILURES_FORGIVEN: u32 = 2;

/// Body of `PUT /v1/agent/service/register`.
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceDefinition {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) name: String,
    address: String,
    port: u16,
    tags: Vec<String>,
    meta: BTreeMap<String, String>,
    pub(super) check: CheckDefinition,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CheckDefinition {
    #[serde(rename = "CheckID")]
    pub(super) id: String,
    name: &'static str,
    #[serde(rename = "GRPC", skip_serializing_if = "Option::is_none")]
    grpc: Option<String>,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "Option::is_none")]
    grpc_use_tls: Option<bool>,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "Option::is_none")]
    tls_skip_verify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures_before_critical: Option<u32>,
    deregister_critical_service_after: String,
    pub(super) status: &'static str,
}

/// Body of `PUT /v1/agent/check/update/:id`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CheckUpdate<'a> {
    pub(super) status: &'static str,
    pub(super) output: &'a str,
}

/// One of the answer to `GET /v1/health/state/any`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CheckState {
    pub(super) node: String,
    #[serde(rename = "CheckID")]
    check_id: String,
    pub(super) status: String,
    /// Empty for a check of the node.
    pub(super) service_name: String,
}

/// One of the answer to `GET /v1/health/service/:name`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceEntry {
    service: ServiceRecord,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceRecord {
    meta: Option<BTreeMap<String, String>>,
}

/// Meta key of the platform: entries of another one may have names that begin alike.
const PLATFORM: &str = "mainstay-platform";

impl ServiceDefinition {
    /// How an instance appears in Consul.
    pub(super) fn new(instance: &Instance, settings: &ConsulSettings) -> Self {
        let (host, port) = instance.address.rsplit_once(':').unwrap_or((&instance.address, ""));
        let name = format!("{}-{}", settings.prefix, instance.service);
        let meta = [
            (PLATFORM, &settings.prefix),
            ("service", &instance.service),
            ("id", &instance.id),
            ("address", &instance.address),
            ("admin-address", &instance.admin_address),
            ("version", &instance.version),
            ("descriptor-hash", &instance.descriptor_hash),
            ("zone", &instance.zone),
        ];
        Self {
            id: format!("{name}-{}", instance.id),
            name,
            address: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().unwrap_or_default(),
            tags: vec![settings.prefix.clone()],
            meta: meta.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
            check: CheckDefinition::new(instance, settings),
        }
    }

    /// The same, in another state of health.
    pub(super) fn with_status(&self, status: &'static str) -> Self {
        let mut definition = self.clone();
        definition.check.status = status;
        definition
    }
}

impl CheckDefinition {
    fn new(instance: &Instance, settings: &ConsulSettings) -> Self {
        // Who has no port to be asked at must tell.
        let kind = match settings.check {
            ConsulCheck::Grpc if instance.admin_address.is_empty() => ConsulCheck::Ttl,
            ConsulCheck::GrpcTls if instance.descriptor_hash.is_empty() => ConsulCheck::Ttl,
            kind => kind,
        };
        let millis = |duration: std::time::Duration| format!("{}ms", duration.as_millis());
        let (asked, interval) = (kind != ConsulCheck::Ttl, settings.check_interval);
        Self {
            id: format!("{}-{}-{}", settings.prefix, instance.service, instance.id),
            name: "health",
            grpc: match kind {
                ConsulCheck::Grpc => Some(instance.admin_address.clone()),
                ConsulCheck::GrpcTls => Some(instance.address.clone()),
                ConsulCheck::Ttl => None,
            },
            grpc_use_tls: (kind == ConsulCheck::GrpcTls).then_some(true),
            // Agents before 1.9 would look for their own name in the service's certificate.
            tls_skip_verify: (kind == ConsulCheck::GrpcTls).then_some(true),
            interval: asked.then(|| millis(interval)),
            timeout: asked.then(|| millis(settings.request_timeout)),
            ttl: (!asked).then(|| millis(interval * INTERVALS_TO_LIVE)),
            failures_before_critical: asked.then_some(FAILURES_FORGIVEN),
            deregister_critical_service_after: millis(settings.deregister_after),
            status: PASSING,
        }
    }
}

/// Status of a check that holds.
pub(super) const PASSING: &str = "passing";

/// Status of a check that does not.
pub(super) const CRITICAL: &str = "critical";

impl ServiceEntry {
    /// The instance, if it is one of the platform.
    pub(super) fn instance(self, settings: &ConsulSettings) -> Option<Instance> {
        let mut meta = self.service.meta?;
        let mut take = |key: &str| meta.remove(key).unwrap_or_default();
        let ours = take(PLATFORM) == settings.prefix;
        let instance = Instance {
            id: take("id"),
            service: take("service"),
            address: take("address"),
            version: take("version"),
            descriptor_hash: take("descriptor-hash"),
            admin_address: take("admin-address"),
            zone: take("zone"),
        };
        (ours && !instance.id.is_empty() && !instance.address.is_empty()).then_some(instance)
    }
}
