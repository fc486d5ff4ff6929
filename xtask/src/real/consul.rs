//! A token of Consul for the platform, and what it may do.

use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::credentials::{ensure_secret, read_secret};
use crate::home::Home;
use crate::http::Request;
use crate::infra::random_uuid;

/// Answers the token that the services use; an empty one where Consul asks for none.
pub(super) fn provision(
    home: &Home,
    url: &str,
    admin: &str,
    platform: &str,
) -> anyhow::Result<String> {
    if admin.is_empty() {
        return Ok(String::new());
    }
    let consul = Consul { address: address(url)?, token: admin };
    let policies = consul.get("/v1/acl/policies")?;
    if named(&policies, "Name", platform).next().is_none() {
        let policy = json!({"Name": platform, "Rules": rules(platform)});
        consul.put("/v1/acl/policy", &policy)?;
    }
    let file = home.path("secrets/consul-token");
    ensure_secret(&file, random_uuid)?;
    let token = read_secret(&file).with_context(|| format!("{} is empty", file.display()))?;
    let own = Consul { address: consul.address, token: &token };
    if own.get("/v1/acl/token/self").is_err() {
        let policies = json!([{"Name": platform}]);
        let token = json!({"SecretID": token, "Description": platform, "Policies": policies});
        consul.put("/v1/acl/token", &token)?;
    }
    Ok(token)
}

/// The ids of instances of the platform that are registered.
pub(super) fn registered(url: &str, admin: &str, platform: &str) -> anyhow::Result<Vec<String>> {
    let consul = Consul { address: address(url)?, token: admin };
    let services = consul.get("/v1/agent/services")?;
    let ours = |service: &Value| {
        service["Service"].as_str().is_some_and(|name| {
            name.strip_prefix(platform).is_some_and(|rest| rest.starts_with('-'))
        })
    };
    let services = services.as_object().into_iter().flatten();
    Ok(services.filter(|(_, service)| ours(service)).map(|(id, _)| id.clone()).collect())
}

/// Takes instances out that did not do so themselves, then the platform's token and policy.
pub(super) fn forget(url: &str, admin: &str, platform: &str) -> anyhow::Result<()> {
    let consul = Consul { address: address(url)?, token: admin };
    for id in registered(url, admin, platform)? {
        consul.put(&format!("/v1/agent/service/deregister/{id}"), &Value::Null)?;
    }
    if admin.is_empty() {
        return Ok(());
    }
    let tokens = consul.get("/v1/acl/tokens")?;
    for token in named(&tokens, "Description", platform) {
        let id = token["AccessorID"].as_str().unwrap_or_default();
        consul.delete(&format!("/v1/acl/token/{id}"))?;
    }
    let policies = consul.get("/v1/acl/policies")?;
    for policy in named(&policies, "Name", platform) {
        let id = policy["ID"].as_str().unwrap_or_default();
        consul.delete(&format!("/v1/acl/policy/{id}"))?;
    }
    Ok(())
}

/// What registering and finding one another takes: docs/discovery.md.
fn rules(platform: &str) -> String {
    format!(
        "service_prefix \"{platform}-\" {{ policy = \"write\" }}\n\
         node_prefix \"\" {{ policy = \"read\" }}"
    )
}

/// The members of a list whose `key` is the platform's name.
fn named<'a>(list: &'a Value, key: &str, platform: &str) -> impl Iterator<Item = &'a Value> {
    list.as_array().into_iter().flatten().filter(move |member| member[key] == platform)
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

    fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Request::delete(path), path)
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
