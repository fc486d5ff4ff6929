//! A node without a kubelet: pods are bound to it and told to run, and no image is pulled.
//!
//! It keeps to what a kubelet keeps to and the chart relies on: a container starts when those before it
//! are done. `await-migrations` is done when a Job of the same service and image is, as the program
//! itself would find the tables; so whoever waits in a circle here would do so in a cluster.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use super::api::Api;
use crate::chart::objects::{list, name, text};

const NODE: &str = "node";

/// The node's zone, which EndpointSlices repeat.
pub(super) const ZONE: &str = "north";

/// Pods have addresses of multicast, to which no connection even leaves the machine.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(239, 0, 0, 1);

/// How often it looks at its pods.
const POLL: Duration = Duration::from_millis(250);

/// The init container that waits.
const AWAITS: &str = "await-migrations";
/// Which of the platform's services a pod is of.
const SERVICE: &str = "mainstay/service";

/// The node; it stops when it is dropped.
pub(super) struct Node {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// What was migrated: namespace, service, image.
type Migrated = BTreeSet<[String; 3]>;

/// What is to be done with a pod.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Bind,
    Wait,
    Run,
    Finish,
    Remove,
}

impl Node {
    /// Registers it, and begins to look after pods.
    pub(super) fn start(api: &Api) -> anyhow::Result<Self> {
        let labels = json!({
            "kubernetes.io/hostname": NODE,
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": ZONE,
        });
        let metadata = json!({"name": NODE, "labels": labels});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata});
        api.create("/api/v1/nodes", &node)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (api, flag) = (api.clone(), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || look_after(&api, &flag));
        Ok(Self { is_over, thread: Some(thread) })
    }

    /// Stops it; what went wrong meanwhile is an error.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it has stopped already")?;
        thread.join().map_err(|_| anyhow!("the node panicked"))?.context("the node gave up")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever drops it has another error to tell.
            let _ = thread.join();
        }
    }
}

fn look_after(api: &Api, is_over: &AtomicBool) -> anyhow::Result<()> {
    let mut migrated = Migrated::new();
    let mut addresses = (FIRST_ADDRESS.to_bits()..).map(Ipv4Addr::from_bits);
    while !is_over.load(Ordering::Relaxed) {
        for pod in api.list("/api/v1/pods")? {
            act(api, &pod, &mut migrated, &mut addresses)?;
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn act(
    api: &Api,
    pod: &Value,
    migrated: &mut Migrated,
    addresses: &mut impl Iterator<Item = Ipv4Addr>,
) -> anyhow::Result<()> {
    let namespace = text(pod, "/metadata/namespace");
    let path = format!("/api/v1/namespaces/{namespace}/pods/{}", name(pod));
    let step = step(pod, migrated);
    match step {
        Step::Nothing => {}
        Step::Remove => api.delete(&path)?,
        Step::Bind => {
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": NODE});
            let metadata = json!({"name": name(pod), "namespace": namespace});
            let binding = json!({"metadata": metadata, "target": target});
            // One that is deleted meanwhile needs no place.
            if let Err(refused) = api.create(&format!("{path}/binding"), &binding)
                && api.status(&path)? != 404
            {
                return Err(refused);
            }
        }
        Step::Wait | Step::Run | Step::Finish => {
            let mut changed = pod.clone();
            let address = match text(pod, "/status/podIP") {
                "" => addresses.next().context("no address is left")?.to_string(),
                address => address.to_owned(),
            };
            changed["status"] = status(pod, &step, &address, &chrono::Utc::now().to_rfc3339());
            let is_told = api.replace(&format!("{path}/status"), &changed)?;
            if is_told && step == Step::Finish {
                migrated.insert(migration(pod, "/spec/containers/0/image"));
            }
        }
    }
    Ok(())
}

fn step(pod: &Value, migrated: &Migrated) -> Step {
    let is_deleted = pod.pointer("/metadata/deletionTimestamp").is_some();
    let phase = text(pod, "/status/phase");
    let waits = list(pod, "/spec/initContainers").iter().any(|it| text(it, "/name") == AWAITS)
        && !migrated.contains(&migration(pod, "/spec/initContainers/0/image"));
    match phase {
        _ if is_deleted => Step::Remove,
        _ if text(pod, "/spec/nodeName").is_empty() => Step::Bind,
        "Pending" if text(pod, "/spec/restartPolicy") != "Always" => Step::Finish,
        "Pending" if waits && text(pod, "/status/podIP").is_empty() => Step::Wait,
        "Pending" if waits => Step::Nothing,
        "Pending" => Step::Run,
        _ => Step::Nothing,
    }
}

fn migration(pod: &Value, image: &str) -> [String; 3] {
    let labels = pod.pointer("/metadata/labels");
    let service = labels.and_then(|labels| labels[SERVICE].as_str()).unwrap_or_default();
    [text(pod, "/metadata/namespace"), service, text(pod, image)].map(str::to_owned)
}

/// The status that a kubelet would report of a pod after a step.
fn status(pod: &Value, step: &Step, address: &str, now: &str) -> Value {
    let (is_waiting, is_ready) = (*step == Step::Wait, *step == Step::Run);
    let running = json!({"running": {"startedAt": now}});
    let ended = json!({"terminated": {
        "exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now,
    }});
    let held = json!({"waiting": {"reason": "PodInitializing"}});
    let (init, own) = match step {
        Step::Wait => (running, held),
        Step::Run => (ended, running),
        _ => (ended.clone(), ended),
    };
    let container = |rendered: &Value, state: &Value| {
        json!({
            "name": rendered["name"], "image": rendered["image"], "imageID": "", "restartCount": 0,
            "ready": is_ready, "started": is_ready, "state": state,
        })
    };
    let containers = |at: &str, state: &Value| -> Vec<Value> {
        list(pod, at).iter().map(|rendered| container(rendered, state)).collect()
    };
    let condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now})
    };
    json!({
        "phase": match step { Step::Wait => "Pending", Step::Run => "Running", _ => "Succeeded" },
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", !is_waiting),
            condition("ContainersReady", is_ready),
            condition("Ready", is_ready),
        ],
        "hostIP": "239.255.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "initContainerStatuses": containers("/spec/initContainers", &init),
        "containerStatuses": containers("/spec/containers", &own),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(restart: &str, spec: Value, status: Value) -> Value {
        let mut pod = json!({
            "metadata": {"namespace": "n", "labels": {"mainstay/service": "auth-svc"}},
            "spec": spec,
            "status": status,
        });
        pod["spec"]["restartPolicy"] = json!(restart);
        pod["spec"]["nodeName"] = json!("node");
        pod
    }

    #[test]
    fn a_pod_waits_for_the_migration_of_its_own_image() {
        let spec = json!({"initContainers": [{"name": "await-migrations", "image": "auth:2"}]});
        let new = pod("Always", spec.clone(), json!({"phase": "Pending"}));
        let waiting = pod("Always", spec, json!({"phase": "Pending", "podIP": "10.0.0.1"}));
        let job = json!({"containers": [{"name": "migrate", "image": "auth:2"}]});
        let job = pod("OnFailure", job, json!({"phase": "Pending"}));
        let nothing = Migrated::new();
        assert_eq!(step(&new, &nothing), Step::Wait);
        assert_eq!(step(&waiting, &nothing), Step::Nothing);
        assert_eq!(step(&job, &nothing), Step::Finish);
        let before = ["n", "auth-svc", "auth:1"].map(str::to_owned);
        assert_eq!(step(&waiting, &Migrated::from([before])), Step::Nothing);
        let migrated = Migrated::from([migration(&job, "/spec/containers/0/image")]);
        assert_eq!(step(&waiting, &migrated), Step::Run);
    }

    #[test]
    fn what_is_deleted_goes_whatever_it_did() {
        let mut gone = pod("Always", json!({}), json!({"phase": "Running"}));
        assert_eq!(step(&gone, &Migrated::new()), Step::Nothing);
        gone["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(step(&gone, &Migrated::new()), Step::Remove);
    }

    #[test]
    fn a_pod_is_ready_only_when_it_runs() {
        let spec = json!({"containers": [{"name": "auth-svc", "image": "auth:2"}]});
        let pod = pod("Always", spec, json!({}));
        for (step, phase, ready) in [
            (Step::Wait, "Pending", false),
            (Step::Run, "Running", true),
            (Step::Finish, "Succeeded", false),
        ] {
            let status = status(&pod, &step, "10.0.0.1", "2026-01-01T00:00:00Z");
            assert_eq!(status["phase"], phase);
            assert_eq!(status["containerStatuses"][0]["ready"], ready);
        }
    }
}
