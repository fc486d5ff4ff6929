//! The registry of one test: a folder, or names of its own in the real Consul.

use std::path::Path;

use bytes::Bytes;
use http::Method;
use mainstay::kernel::settings::{ConsulSettings, RegistryKind, RegistrySettings};
use serde_json::{Map, Value};

use crate::infra::Infra;
use crate::rest::Rest;
use crate::wait::blocking;

/// The registry of one test. Dropped, it withdraws whatever the test has left in Consul, whose agent
/// would go on asking the dead for a minute.
pub(crate) struct TestRegistry {
    settings: RegistrySettings,
}

impl TestRegistry {
    /// The Consul of `infra` with names that no other test has, or a directory in `folder`.
    pub(crate) fn new(folder: &Path, infra: Option<&Infra>) -> Self {
        let mut settings =
            RegistrySettings { path: folder.join("registry"), ..RegistrySettings::default() };
        if let Some(infra) = infra {
            settings.kind = RegistryKind::Consul;
            settings.consul.url = infra.consul.url.clone();
            settings.consul.token = infra.consul.token.clone().into();
            settings.consul.prefix = format!("test-{}", uuid::Uuid::now_v7().simple());
        }
        Self { settings }
    }

    /// A registry of the story's own choice.
    pub(crate) fn of(settings: RegistrySettings) -> Self {
        Self { settings }
    }

    /// How to reach it.
    pub(crate) fn settings(&self) -> &RegistrySettings {
        &self.settings
    }

    /// The same, for a process.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let RegistrySettings { kind, path, consul, .. } = &self.settings;
        let stated = match kind {
            RegistryKind::Consul => vec![
                ("KIND", "consul".to_owned()),
                ("CONSUL__URL", consul.url.clone()),
                ("CONSUL__TOKEN", consul.token.expose().clone()),
                ("CONSUL__PREFIX", consul.prefix.clone()),
            ],
            // Platforms of tests run on a folder or on Consul.
            _ => vec![("PATH", path.to_str().expect("test folders are UTF-8").to_owned())],
        };
        let named = |(name, value)| (format!("MAINSTAY_REGISTRY__{name}"), value);
        stated.into_iter().map(named).collect()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        let consul = &self.settings.consul;
        // An agent of a story's own goes with the story.
        if self.settings.kind == RegistryKind::Consul && consul.url.starts_with("http://") {
            blocking(withdraw_all(consul));
        }
    }
}

/// Withdraws what begins with the prefix. A Consul that is away has nothing to withdraw.
async fn withdraw_all(consul: &ConsulSettings) {
    let agent = Rest::new(consul.url.trim_start_matches("http://"));
    let token = [("x-consul-token", consul.token.expose().as_str())];
    let filter = format!("Service matches \"^{}-\"", consul.prefix);
    let filter: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    let path = format!("/v1/agent/services?filter={filter}");
    let Ok(reply) = agent.try_send(Method::GET, &path, &token, Bytes::new()).await else { return };
    let services: Map<String, Value> = serde_json::from_slice(&reply.body).unwrap_or_default();
    for id in services.keys() {
        let path = format!("/v1/agent/service/deregister/{id}");
        let _ = agent.try_send(Method::PUT, &path, &token, Bytes::new()).await;
    }
}
