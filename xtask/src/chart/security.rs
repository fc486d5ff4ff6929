//! What must hold for every pod: the profile `restricted` of the Pod Security Standards, a grace period
//! longer than the drain, and a token of the API server only where it is needed.

use serde_json::{Value, json};

use super::objects::{Pod, find, id, kind, list, pods, text};

/// Kinds of volumes that the profile takes.
const VOLUMES: [&str; 7] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
];

/// Every pod that breaks a rule.
pub(super) fn faults(objects: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for pod in pods(objects) {
        let found = pod_faults(&pod).into_iter().chain(end_faults(objects, &pod));
        faults.extend(found.map(|fault| format!("{}: {fault}", id(pod.owner))));
    }
    faults
}

fn pod_faults(pod: &Pod<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let stated = |value: &Value, pointer: &str| value.pointer(pointer).cloned().unwrap_or_default();
    for (pointer, wanted) in [
        ("/securityContext/runAsNonRoot", json!(true)),
        ("/securityContext/seccompProfile/type", json!("RuntimeDefault")),
    ] {
        if stated(pod.spec, pointer) != wanted {
            faults.push(format!("{pointer} is not {wanted}"));
        }
    }
    if stated(pod.spec, "/securityContext/runAsUser").as_u64().unwrap_or(0) == 0 {
        faults.push("runs as root".to_owned());
    }
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod.spec.get(host).is_some_and(|it| it != &json!(false)) {
            faults.push(format!("{host} is asked for"));
        }
    }
    for container in pod.containers() {
        for (pointer, wanted) in [
            ("/securityContext/allowPrivilegeEscalation", json!(false)),
            ("/securityContext/readOnlyRootFilesystem", json!(true)),
            ("/securityContext/capabilities/drop", json!(["ALL"])),
        ] {
            if stated(container, pointer) != wanted {
                faults.push(format!("{pointer} of {} is not {wanted}", text(container, "/name")));
            }
        }
        if container.pointer("/resources/limits/memory").is_none() {
            faults.push(format!("{} has no limit of memory", text(container, "/name")));
        }
    }
    for volume in list(pod.spec, "/volumes") {
        let is_allowed = |kind: &str| kind == "name" || kind == "secret" || VOLUMES.contains(&kind);
        let kinds = volume.as_object().into_iter().flat_map(|it| it.keys());
        faults
            .extend(kinds.filter(|kind| !is_allowed(kind)).map(|kind| format!("volume of {kind}")));
    }
    faults
}

/// The grace outlasts everything that happens before the end.
fn end_faults(objects: &[Value], pod: &Pod<'_>) -> Vec<String> {
    if kind(pod.owner) != "Deployment" {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let number = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_u64);
    let grace = number(pod.spec, "/terminationGracePeriodSeconds").unwrap_or(30);
    for container in list(pod.spec, "/containers") {
        let Some(settings) = settings(objects, pod, container) else { continue };
        let wait = number(container, "/lifecycle/preStop/sleep/seconds").unwrap_or(0);
        let drain = settings["lifecycle"]["drain_deadline"].as_str().and_then(seconds);
        match drain {
            None => faults.push(format!("no drain_deadline for {}", text(container, "/name"))),
            Some(drain) if grace <= wait + drain => faults.push(format!(
                "the grace of {grace} s is not longer than a wait of {wait} s and a drain of {drain} s"
            )),
            Some(_) => {}
        }
    }
    let token = pod.spec.get("automountServiceAccountToken") != Some(&json!(false));
    let kubernetes = list(pod.spec, "/containers")
        .iter()
        .filter_map(|container| settings(objects, pod, container))
        .any(|settings| settings["registry"]["kind"].as_str() == Some("kubernetes"));
    if token != kubernetes {
        faults.push(format!("a token is mounted: {token}, discovery by Kubernetes: {kubernetes}"));
    }
    faults
}

/// The settings file that a container is told to read.
pub(super) fn settings(objects: &[Value], pod: &Pod<'_>, container: &Value) -> Option<toml::Table> {
    let mounts = list(container, "/volumeMounts").iter();
    let mut mounted = mounts.filter(|it| text(it, "/mountPath") == "/etc/mainstay/settings");
    let volume = text(mounted.next()?, "/name");
    let volumes = list(pod.spec, "/volumes").iter();
    let mut named = volumes.filter(|it| text(it, "/name") == volume);
    let map = find(objects, "ConfigMap", text(named.next()?, "/configMap/name"))?;
    toml::from_str(text(map, "/data/settings.toml")).ok()
}

/// A duration such as `20s`.
fn seconds(text: &str) -> Option<u64> {
    text.strip_suffix('s')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut deployment = json!({
            "kind": "Job",
            "metadata": {"name": "a"},
            "spec": {"template": {"metadata": {"labels": {}}, "spec": {
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}
                },
                "volumes": [{"name": "data", "emptyDir": {}}],
                "containers": [{
                    "name": "c",
                    "resources": {"limits": {"memory": "1Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]}
                    }
                }]
            }}}
        });
        change(&mut deployment["spec"]["template"]["spec"]);
        faults(&[deployment])
    }

    #[test]
    fn what_the_profile_forbids_is_named() {
        assert_eq!(pod(|_| {}), Vec::<String>::new());
        for (expected, found) in [
            ("runAsNonRoot", pod(|spec| spec["securityContext"]["runAsNonRoot"] = json!(false))),
            ("root", pod(|spec| spec["securityContext"]["runAsUser"] = json!(0))),
            ("hostNetwork", pod(|spec| spec["hostNetwork"] = json!(true))),
            ("hostPath", pod(|spec| spec["volumes"][0]["hostPath"] = json!({"path": "/"}))),
            ("readOnly", pod(|spec| spec["containers"][0]["securityContext"] = json!({}))),
            ("memory", pod(|spec| spec["containers"][0]["resources"] = json!({}))),
        ] {
            assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:?}");
        }
    }
}
