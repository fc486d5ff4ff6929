//! Where the names in a cluster lead: an Ingress to a Service, a Service to the pods that it selects.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::pod::RunningPod;
use super::tour::Edge;
use crate::chart::objects::{find, list, name, of_kind, text};

/// A client of the internet, of a range that is kept for examples (RFC 5737).
const CLIENT: &str = "203.0.113.7";

/// What the Ingress leads to. Its controller ends TLS, and tells for whom it asks and how.
pub(super) fn ingress(objects: &[Value], pods: &[RunningPod<'_>]) -> anyhow::Result<Edge> {
    let ingress = of_kind(objects, "Ingress").next().context("there is no Ingress")?;
    let host = text(ingress, "/spec/rules/0/host").to_owned();
    let backend = ingress.pointer("/spec/rules/0/http/paths/0/backend/service");
    let backend = backend.context("the Ingress leads nowhere")?;
    let port = backend.pointer("/port/name").or_else(|| backend.pointer("/port/number"));
    let port = port.context("the Ingress names no port")?;
    let addresses = endpoints(objects, pods, text(backend, "/name"), port)?;
    let headers = [
        ("host", host.clone()),
        ("x-forwarded-host", host),
        ("x-forwarded-for", CLIENT.to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
    ];
    Ok(Edge::of(addresses, headers.to_vec()))
}

/// The script of a pod that calls Services by `name:port`, with an address in the place of each.
pub(super) fn resolved(
    objects: &[Value],
    pods: &[RunningPod<'_>],
    script: &str,
) -> anyhow::Result<String> {
    let mut resolved = script.to_owned();
    for service in of_kind(objects, "Service") {
        for port in list(service, "/spec/ports").iter().filter_map(|port| port.get("port")) {
            let called = format!("//{}:{port}/", name(service));
            if resolved.contains(&called) {
                let found = endpoints(objects, pods, name(service), port)?;
                let address = found.first().context("a Service without pods")?;
                resolved = resolved.replace(&called, &format!("//{address}/"));
            }
        }
    }
    Ok(resolved)
}

/// The addresses behind a port of a Service, by the port's name or number.
fn endpoints(
    objects: &[Value],
    pods: &[RunningPod<'_>],
    service: &str,
    port: &Value,
) -> anyhow::Result<Vec<SocketAddr>> {
    let object =
        find(objects, "Service", service).with_context(|| format!("no Service/{service}"))?;
    let target = target(object, port).with_context(|| format!("{service} has no port {port}"))?;
    let selector = object.pointer("/spec/selector").context("a Service that selects nothing")?;
    let chosen = pods.iter().filter(|pod| pod.is_selected(selector));
    let addresses: Vec<_> = chosen.filter_map(|pod| pod.port(target)).collect();
    ensure!(!addresses.is_empty(), "Service/{service} selects no pod with a port {target}");
    Ok(addresses)
}

/// The name of the containers' port to which a port of a Service leads.
fn target<'a>(service: &'a Value, port: &Value) -> Option<&'a str> {
    let mut ports = list(service, "/spec/ports").iter();
    let found = ports.find(|it| it.get("name") == Some(port) || it.get("port") == Some(port))?;
    found.get("targetPort")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_of_a_service_leads_to_one_of_its_pods_by_name_and_number() {
        let service = json!({"kind": "Service", "metadata": {"name": "gateway"}, "spec": {
            "selector": {"app": "gateway"},
            "ports": [{"name": "http", "port": 80, "targetPort": "web"}],
        }});
        assert_eq!(target(&service, &json!("http")), Some("web"));
        assert_eq!(target(&service, &json!(80)), Some("web"));
        assert_eq!(target(&service, &json!(8080)), None);
        let refused = endpoints(&[service], &[], "gateway", &json!(80)).unwrap_err().to_string();
        assert!(refused.contains("selects no pod with a port web"), "{refused}");
    }
}
