//! A token of Consul for the platform, and what it may do.

use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::PLATFORM;
use crate::credentials::{ensure_secret, read_secret};
use crate::home::Home;
use crate::http::Request;
use crate::infra::random_uuid;

/// What registering and finding one another takes: docs/discovery.md.
const RULES: &str = r#"service_prefix "mainstay-" { policy = "write" }
node_prefix "" { policy = "read" }"#;

/// Answers the token that the services use; an empty one where Consul asks for none.
pub(super) fn provision(home: &Home, url: &str, admin: &str) -> anyhow::Result<String> {
    if admin.is_empty() {
        return Ok(String::new());
    }
    let consul = Consul { address: address(url)?, token: admin };
    let policies = consul.get("/v1/acl/policies")?;
    let known = policies
        .as_array()
        .is_some_and(|policies| policies.iter().any(|policy| policy["Name"] == PLATFORM));
    if !known {
        consul.put("/v1/acl/policy", &json!({"Name": PLATFORM, "Rules": RULES}))?;
    }
    let file = home.path("secrets/consul-token");
    ensure_secret(&file, random_uuid)?;
    let token = read_secret(&file).with_context(|| format!("{} is empty", file.display()))?;
    let own = Consul { address: consul.address, token: &token };
    if own.get("/v1/acl/token/self").is_err() {
        let policies = json!([{"Name": PLATFORM}]);
        let token = json!({"SecretID": token, "Description": PLATFORM, "Policies": policies});
        consul.put("/v1/acl/token", &token)?;
    }
    Ok(token)
}

/// Takes instances out that did not do so themselves.
pub(super) fn forget(url: &str, admin: &str) -> anyhow::Result<()> {
    let consul = Consul { address: address(url)?, token: admin };
    let services = consul.get("/v1/agent/services")?;
    for (id, service) in services.as_object().into_iter().flatten() {
        let ours = service["Service"].as_str().is_some_and(|name| {
            name.strip_prefix(PLATFORM).is_some_and(|rest| rest.starts_with('-'))
        });
        if ours {
            consul.put(&format!("/v1/agent/service/deregister/{id}"), &Value::Null)?;
        }
    }
    Ok(())
}

struct Consul<'a> {
    address: SocketAddr,
    token: &'a str,
}

impl Consul<'_> {
    fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Request::get(path), path)
    }

    fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Request::put(path, body), path)
    }

    fn send(&self, request: Request<'_>, path: &str) -> anyhow::Result<Value> {
        let answer = request.header("x-consul-token", self.token).send(self.address)?;
        ensure!(
            answer.status == 200,
            "Consul answers {path} with {} {}",
            answer.status,
            answer.body.trim()
        );
        // Some requests have no answer but their status.
        Ok(serde_json::from_str(&answer.body).unwrap_or_default())
    }
}

/// Where an agent is; it is on loopback or in a network of ours, so without TLS.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let Some(place) = url.strip_prefix("http://") else {
        bail!("Consul is prepared through http://HOST:PORT alone, and not by {url}");
    };
    let found = place.trim_end_matches('/').to_socket_addrs().ok().and_then(|mut all| all.next());
    found.with_context(|| format!("{url} is not http://HOST:PORT"))
}
