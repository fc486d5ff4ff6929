//! Whatever an object refers to is there: Secrets, ConfigMaps and their keys, volumes, ports, pods,
//! Services, service accounts, and the paths of probes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::objects::{Pod, find, has_port, id, kind, list, of_kind, pods, text};

/// What the admin port of every process answers.
const PROBED: [&str; 2] = ["/healthz", "/readyz"];

/// Secrets and ConfigMaps that whoever installs the chart brings have names that begin so in the values
/// of the tests.
const BROUGHT: &str = "brought-";

/// What every certificate of cert-manager puts into its Secret.
const CERTIFICATE_KEYS: [&str; 3] = ["ca.crt", "tls.crt", "tls.key"];

/// Every reference that leads nowhere.
pub(super) fn faults(objects: &[Value]) -> Vec<String> {
    let mut faults = twice(objects);
    for pod in pods(objects) {
        let owner = id(pod.owner);
        let of_pod = volumes(objects, &pod).into_iter().chain(containers(objects, &pod));
        faults.extend(of_pod.map(|fault| format!("{owner}: {fault}")));
    }
    for object in objects {
        let found = match kind(object) {
            "Service" => service(objects, object),
            "HorizontalPodAutoscaler" => target(objects, object),
            "PodDisruptionBudget" => selection(objects, object, "/spec/selector/matchLabels", true),
            "NetworkPolicy" => network(objects, object),
            "PodMonitor" => monitor(objects, object),
            "ServiceMonitor" => service_monitor(objects, object),
            "Ingress" | "HTTPRoute" => backends(objects, object),
            "RoleBinding" => binding(objects, object),
            "Certificate" => issuer(objects, object),
            "Deployment" => selection(objects, object, "/spec/selector/matchLabels", true),
            _ => Vec::new(),
        };
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", id(object))));
    }
    faults
}

/// Two objects of one name: the later one would silently win.
fn twice(objects: &[Value]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let again = objects.iter().map(id).filter(|id| !seen.insert(id.clone()));
    again.map(|id| format!("{id} is rendered twice")).collect()
}

fn volumes(objects: &[Value], pod: &Pod<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for volume in list(pod.spec, "/volumes") {
        let projected = list(volume, "/projected/sources").iter();
        for source in projected.chain([volume]) {
            let named = [text(source, "/secret/secretName"), text(source, "/secret/name")];
            for secret in named.into_iter().filter(|name| !name.is_empty()) {
                faults.extend(keys(objects, "Secret", secret, list(source, "/secret/items")));
            }
            let map = text(source, "/configMap/name");
            if !map.is_empty() {
                faults.extend(keys(objects, "ConfigMap", map, list(source, "/configMap/items")));
            }
        }
    }
    faults
}

/// The keys of a Secret or ConfigMap that are asked for.
fn keys(objects: &[Value], wanted: &str, named: &str, items: &[Value]) -> Vec<String> {
    if named.starts_with(BROUGHT) {
        return Vec::new();
    }
    let Some(present) = present_keys(objects, wanted, named) else {
        return vec![format!("there is no {wanted} {named}")];
    };
    let asked = items.iter().map(|item| text(item, "/key"));
    asked
        .filter(|key| !present.iter().any(|there| there == key))
        .map(|key| format!("{wanted} {named} has no key {key}"))
        .collect()
}

fn present_keys(objects: &[Value], wanted: &str, named: &str) -> Option<Vec<String>> {
    let by_certificate = wanted == "Secret"
        && of_kind(objects, "Certificate").any(|it| text(it, "/spec/secretName") == named);
    if by_certificate {
        return Some(CERTIFICATE_KEYS.map(str::to_owned).to_vec());
    }
    let data = find(objects, wanted, named)?.get("data")?.as_object()?;
    Some(data.keys().cloned().collect())
}

fn containers(objects: &[Value], pod: &Pod<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let volumes: BTreeSet<_> =
        list(pod.spec, "/volumes").iter().map(|it| text(it, "/name")).collect();
    if volumes.len() != list(pod.spec, "/volumes").len() {
        faults.push("two volumes have one name".to_owned());
    }
    for container in pod.containers() {
        let own = text(container, "/name");
        for mount in list(container, "/volumeMounts") {
            let volume = text(mount, "/name");
            if !volumes.contains(volume) {
                faults.push(format!("{own} mounts {volume}, which is no volume"));
            }
        }
        for variable in list(container, "/env") {
            for (wanted, pointer) in
                [("Secret", "/valueFrom/secretKeyRef"), ("ConfigMap", "/valueFrom/configMapKeyRef")]
            {
                if let Some(from) = variable.pointer(pointer) {
                    let item = std::slice::from_ref(from);
                    faults.extend(keys(objects, wanted, text(from, "/name"), item));
                }
            }
            faults
                .extend(unmounted_file(container, variable).map(|fault| format!("{own}: {fault}")));
        }
        faults.extend(probes(container));
    }
    let account = text(pod.spec, "/serviceAccountName");
    if !account.is_empty()
        && account != "default"
        && find(objects, "ServiceAccount", account).is_none()
    {
        faults.push(format!("there is no ServiceAccount {account}"));
    }
    faults
}

/// A variable that names a file has it mounted.
fn unmounted_file(container: &Value, variable: &Value) -> Option<String> {
    let (name, file) = (text(variable, "/name"), text(variable, "/value"));
    if !name.ends_with("_FILE") && name != "MAINSTAY_SETTINGS" {
        return None;
    }
    let mounted = list(container, "/volumeMounts")
        .iter()
        .any(|mount| file.starts_with(&format!("{}/", text(mount, "/mountPath"))));
    (!mounted).then(|| format!("{name} names {file}, where nothing is mounted"))
}

fn probes(container: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let Some(get) = container.get(probe).and_then(|probe| probe.get("httpGet")) else {
            continue;
        };
        let own = text(container, "/name");
        if !get.get("port").is_some_and(|port| has_port(container, port)) {
            faults.push(format!("the {probe} of {own} asks a port that it does not have"));
        }
        if !PROBED.contains(&text(get, "/path")) {
            faults.push(format!("the {probe} of {own} asks {}", text(get, "/path")));
        }
    }
    faults
}

fn service(objects: &[Value], object: &Value) -> Vec<String> {
    let mut faults = selection(objects, object, "/spec/selector", true);
    let Some(selector) = object.pointer("/spec/selector") else { return faults };
    for pod in pods(objects).iter().filter(|pod| pod.is_selected(selector)) {
        for port in list(object, "/spec/ports") {
            if !port.get("targetPort").is_some_and(|target| pod.has_port(target)) {
                faults.push(format!("{} has no port {}", id(pod.owner), text(port, "/targetPort")));
            }
        }
    }
    faults
}

/// Somebody is selected; of one kind where the selector is for those that serve.
fn selection(objects: &[Value], object: &Value, pointer: &str, serving: bool) -> Vec<String> {
    let Some(labels) = object.pointer(pointer) else { return vec![format!("no {pointer}")] };
    let all = pods(objects);
    let selected: Vec<_> = all.iter().filter(|pod| pod.is_selected(labels)).collect();
    if selected.is_empty() {
        return vec![format!("{pointer} selects no pod")];
    }
    let wrong = selected.iter().filter(|pod| serving && kind(pod.owner) != "Deployment");
    wrong.map(|pod| format!("{pointer} selects {} too", id(pod.owner))).collect()
}

fn target(objects: &[Value], object: &Value) -> Vec<String> {
    let target = text(object, "/spec/scaleTargetRef/name");
    match find(objects, text(object, "/spec/scaleTargetRef/kind"), target) {
        None => vec![format!("there is no {target} to scale")],
        Some(scaled) if scaled.pointer("/spec/replicas").is_some() => {
            vec![format!("{target} states replicas, which every upgrade would set back")]
        }
        Some(_) => Vec::new(),
    }
}

fn network(objects: &[Value], object: &Value) -> Vec<String> {
    let mut faults = selection(objects, object, "/spec/podSelector/matchLabels", false);
    let Some(labels) = object.pointer("/spec/podSelector/matchLabels") else { return faults };
    let all = pods(objects);
    for rule in list(object, "/spec/ingress") {
        for port in list(rule, "/ports").iter().filter_map(|port| port.get("port")) {
            if !all.iter().any(|pod| pod.is_selected(labels) && pod.has_port(port)) {
                faults.push(format!("no pod has the port {port}"));
            }
        }
        for peer in
            list(rule, "/from").iter().filter_map(|it| it.pointer("/podSelector/matchLabels"))
        {
            if !all.iter().any(|pod| pod.is_selected(peer)) {
                faults.push(format!("nobody is {peer}"));
            }
        }
    }
    faults
}

fn monitor(objects: &[Value], object: &Value) -> Vec<String> {
    let mut faults = selection(objects, object, "/spec/selector/matchLabels", false);
    let wanted = list(object, "/spec/selector/matchExpressions/0/values");
    let pods = pods(objects);
    for component in wanted {
        let of_it =
            |pod: &&Pod<'_>| pod.labels.get("app.kubernetes.io/component") == Some(component);
        let Some(pod) = pods.iter().find(of_it) else {
            faults.push(format!("no pod is {component}"));
            continue;
        };
        for port in list(object, "/spec/podMetricsEndpoints").iter().filter_map(|it| it.get("port"))
        {
            if !pod.has_port(port) {
                faults.push(format!("{} has no port {port}", id(pod.owner)));
            }
        }
    }
    faults
}

/// Each port is one of a pod behind a Service that is selected.
fn service_monitor(objects: &[Value], object: &Value) -> Vec<String> {
    let wanted = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let is_selected = |service: &&Value| {
        let labels = service.pointer("/metadata/labels");
        wanted.is_some_and(|it| {
            it.iter().all(|(key, value)| labels.and_then(|it| it.get(key)) == Some(value))
        })
    };
    let selectors = of_kind(objects, "Service")
        .filter(is_selected)
        .filter_map(|it| it.pointer("/spec/selector"));
    let selectors: Vec<_> = selectors.collect();
    let pods = pods(objects);
    let behind: Vec<_> =
        pods.iter().filter(|pod| selectors.iter().any(|it| pod.is_selected(it))).collect();
    let ports = list(object, "/spec/endpoints").iter().filter_map(|it| it.get("targetPort"));
    let missing = ports.filter(|port| !behind.iter().any(|pod| pod.has_port(port)));
    missing.map(|port| format!("no pod behind a Service has the port {port}")).collect()
}

fn backends(objects: &[Value], object: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut backends, mut secrets) = (Vec::new(), Vec::new());
    for rule in list(object, "/spec/rules") {
        let routed = list(rule, "/backendRefs").iter();
        backends.extend(routed.map(|it| (text(it, "/name"), it.get("port"))));
        let paths =
            list(rule, "/http/paths").iter().filter_map(|it| it.pointer("/backend/service"));
        let port = |it: &'_ Value| it.pointer("/port/name").or(it.pointer("/port/number")).cloned();
        for backend in paths {
            faults.extend(backend_fault(objects, text(backend, "/name"), port(backend).as_ref()));
        }
    }
    for (service, port) in backends {
        faults.extend(backend_fault(objects, service, port));
    }
    secrets.extend(list(object, "/spec/tls").iter().map(|it| text(it, "/secretName")));
    for secret in secrets {
        faults.extend(keys(objects, "Secret", secret, &[]));
    }
    faults
}

fn backend_fault(objects: &[Value], service: &str, port: Option<&Value>) -> Option<String> {
    let Some(found) = find(objects, "Service", service) else {
        return Some(format!("there is no Service {service}"));
    };
    let ports = list(found, "/spec/ports");
    let has =
        ports.iter().any(|it| port.is_some() && (it.get("name") == port || it.get("port") == port));
    (!has).then(|| format!("Service {service} has no such port"))
}

fn binding(objects: &[Value], object: &Value) -> Vec<String> {
    let role = text(object, "/roleRef/name");
    let mut faults = Vec::new();
    if find(objects, text(object, "/roleRef/kind"), role).is_none() {
        faults.push(format!("there is no role {role}"));
    }
    let subjects = list(object, "/subjects").iter().map(name_of_subject);
    let missing = subjects.filter(|account| find(objects, "ServiceAccount", account).is_none());
    faults.extend(missing.map(|account| format!("there is no ServiceAccount {account}")));
    faults
}

fn name_of_subject(subject: &Value) -> &str {
    text(subject, "/name")
}

fn issuer(objects: &[Value], object: &Value) -> Vec<String> {
    let issuer = text(object, "/spec/issuerRef/name");
    let known = issuer.starts_with(BROUGHT) || find(objects, "Issuer", issuer).is_some();
    if known { Vec::new() } else { vec![format!("there is no Issuer {issuer}")] }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A Deployment with its Service, ConfigMap and account, sound until it is changed.
    fn changed(change: impl FnOnce(&mut Vec<Value>)) -> Vec<String> {
        let labels = json!({"app.kubernetes.io/component": "a"});
        let container = json!({
            "name": "a",
            "ports": [{"name": "admin", "containerPort": 1}],
            "env": [{"name": "MAINSTAY_SETTINGS", "value": "/etc/settings/settings.toml"}],
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "admin"}},
            "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}]
        });
        let pod = json!({
            "serviceAccountName": "a",
            "containers": [container],
            "volumes": [{
                "name": "settings",
                "configMap": {"name": "a", "items": [{"key": "settings.toml", "path": "settings.toml"}]}
            }]
        });
        let object = |kind: &str, rest: Value| {
            let mut object = json!({"kind": kind, "metadata": {"name": "a"}});
            object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            object
        };
        let mut objects = vec![
            object(
                "Deployment",
                json!({"spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod}
                }}),
            ),
            object(
                "Service",
                json!({"spec": {"selector": labels, "ports": [{"targetPort": "admin"}]}}),
            ),
            object("ConfigMap", json!({"data": {"settings.toml": ""}})),
            object("ServiceAccount", json!({})),
        ];
        change(&mut objects);
        faults(&objects)
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        const POD: &str = "/spec/template/spec";
        fn set(objects: &mut [Value], index: usize, pointer: &str, value: Value) {
            *objects[index].pointer_mut(pointer).unwrap() = value;
        }
        let pod = |pointer: &str, value: Value| {
            changed(|objects| set(objects, 0, &format!("{POD}{pointer}"), value))
        };
        assert_eq!(changed(|_| {}), Vec::<String>::new());
        for (expected, found) in [
            ("no ConfigMap a", changed(|objects| drop(objects.remove(2)))),
            ("no ServiceAccount a", changed(|objects| drop(objects.remove(3)))),
            ("no key x", pod("/volumes/0/configMap/items/0/key", json!("x"))),
            ("no volume", pod("/containers/0/volumeMounts/0/name", json!("x"))),
            ("nothing is mounted", pod("/containers/0/env/0/value", json!("/x/y"))),
            ("does not have", pod("/containers/0/livenessProbe/httpGet/port", json!("x"))),
            ("asks /x", pod("/containers/0/livenessProbe/httpGet/path", json!("/x"))),
            ("no port", changed(|it| set(it, 1, "/spec/ports/0/targetPort", json!("x")))),
            ("selects no pod", changed(|it| set(it, 1, "/spec/selector", json!({"x": "y"})))),
            ("rendered twice", changed(|it| it.push(it[2].clone()))),
        ] {
            assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:?}");
        }
    }
}
