//! Kubernetes: slices and pods become instances, whatever happens to the watch.

use std::time::Duration;

use mainstay::kernel::registry::{Instance, KubernetesRegistry, Registry};
use mainstay::kernel::settings::KubernetesSettings;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::suite::{addresses, instance, sees};
use crate::mesh::eventually;

const SLICES: &str = "endpointslices";
const PODS: &str = "pods";

/// How long what a cluster that was away does not list again is kept.
const GRACE: Duration = Duration::from_millis(300);

async fn open(cluster: &Cluster) -> KubernetesRegistry {
    let settings = KubernetesSettings {
        url: cluster.url(),
        namespace: "platform".into(),
        ..KubernetesSettings::default()
    };
    KubernetesRegistry::open(&settings, GRACE).await.unwrap()
}

/// A slice of the Service `service` with endpoints of (pod, address, conditions).
fn slice(name: &str, service: &str, endpoints: &[(&str, &str, Value)]) -> Value {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(pod, address, conditions)| {
            json!({
                "addresses": [address],
                "conditions": conditions,
                "zone": "north",
                "targetRef": {"kind": "Pod", "name": pod},
            })
        })
        .collect();
    json!({
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [
            {"name": "admin", "port": 18081, "protocol": "TCP"},
            {"name": "grpc", "port": 8081, "protocol": "TCP"},
        ],
    })
}

fn pod(name: &str, template: &str) -> Value {
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/version": "1.2.3", "pod-template-hash": template},
        },
    })
}

fn ready() -> Value {
    json!({"ready": true, "serving": true, "terminating": false})
}

#[tokio::test]
async fn ready_endpoints_of_all_slices_are_instances() {
    let cluster = Cluster::start().await;
    cluster.put(PODS, pod("a-1", "aaa"));
    cluster.put(PODS, pod("a-2", "bbb"));
    let mut annotated = pod("b-1", "ccc");
    annotated["metadata"]["annotations"] = json!({"mainstay/descriptor-hash": "abc"});
    cluster.put(PODS, annotated);
    // More than a page of slices; the endpoint of a-1 stands in two of them.
    cluster.put(SLICES, slice("a-x", "a-svc", &[("a-1", "10.0.0.1", ready())]));
    let not_ready = json!({"ready": false, "serving": true, "terminating": true});
    let endpoints = [
        ("a-1", "10.0.0.1", ready()),
        ("a-2", "10.0.0.2", json!({})),
        ("a-3", "10.0.0.3", not_ready),
    ];
    cluster.put(SLICES, slice("a-y", "a-svc", &endpoints));
    let mut labelled = slice("b-x", "release-b", &[("b-1", "fd00::1", ready())]);
    labelled["metadata"]["labels"]["mainstay/service"] = json!("b-svc");
    cluster.put(SLICES, labelled);
    let mut without_port = slice("c-x", "c-svc", &[("c-1", "10.0.0.9", ready())]);
    without_port["ports"] = json!([{"name": "http", "port": 80}]);
    cluster.put(SLICES, without_port);

    let registry = open(&cluster).await;
    let watch = registry.watch();
    let snapshot = watch.borrow().clone();
    assert_eq!(addresses(&snapshot, "a-svc"), ["10.0.0.1:8081", "10.0.0.2:8081"]);
    assert_eq!(snapshot.keys().collect::<Vec<_>>(), ["a-svc", "b-svc"]);
    let expected = Instance {
        id: "a-1".into(),
        service: "a-svc".into(),
        address: "10.0.0.1:8081".into(),
        version: "1.2.3".into(),
        descriptor_hash: "template-aaa".into(),
        admin_address: "10.0.0.1:18081".into(),
        zone: "north".into(),
    };
    assert_eq!(snapshot["a-svc"][0], expected);
    assert_eq!(snapshot["b-svc"][0].address, "[fd00::1]:8081");
    assert_eq!(snapshot["b-svc"][0].descriptor_hash, "abc", "what the pod states holds");
}

#[tokio::test]
async fn a_rollout_is_followed_slice_by_slice() {
    let cluster = Cluster::start().await;
    cluster.put(PODS, pod("a-1", "old"));
    cluster.put(SLICES, slice("a-x", "a-svc", &[("a-1", "10.0.0.1", ready())]));
    let registry = open(&cluster).await;
    let mut watch = registry.watch();
    sees(&mut watch, "a-svc", &["10.0.0.1:8081"]).await;

    cluster.put(PODS, pod("a-2", "new"));
    cluster.put(SLICES, slice("a-y", "a-svc", &[("a-2", "10.0.0.2", ready())]));
    sees(&mut watch, "a-svc", &["10.0.0.1:8081", "10.0.0.2:8081"]).await;
    cluster.put(SLICES, slice("a-x", "a-svc", &[("a-1", "10.0.0.1", json!({"ready": false}))]));
    sees(&mut watch, "a-svc", &["10.0.0.2:8081"]).await;
    assert_eq!(watch.borrow()["a-svc"][0].descriptor_hash, "template-new");
    cluster.delete(SLICES, "a-x");
    cluster.delete(SLICES, "a-y");
    sees(&mut watch, "a-svc", &[]).await;
    assert!(watch.borrow().is_empty());
}

#[tokio::test]
async fn a_watch_that_breaks_off_goes_on_where_it_was() {
    let cluster = Cluster::start().await;
    cluster.put(SLICES, slice("a-x", "a-svc", &[("a-1", "10.0.0.1", ready())]));
    let registry = open(&cluster).await;
    let mut watch = registry.watch();
    sees(&mut watch, "a-svc", &["10.0.0.1:8081"]).await;
    eventually(async || (cluster.watches() >= 2).then_some(())).await;
    let lists = cluster.lists();

    cluster.disconnect();
    cluster.put(SLICES, slice("a-x", "a-svc", &[("a-2", "10.0.0.2", ready())]));
    sees(&mut watch, "a-svc", &["10.0.0.2:8081"]).await;
    assert_eq!(cluster.lists(), lists, "nothing was listed anew");
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_place_is_listed_anew() {
    let cluster = Cluster::start().await;
    cluster.put(SLICES, slice("a-x", "a-svc", &[("a-1", "10.0.0.1", ready())]));
    cluster.put(SLICES, slice("a-y", "a-svc", &[("a-2", "10.0.0.2", ready())]));
    let registry = open(&cluster).await;
    let mut watch = registry.watch();
    sees(&mut watch, "a-svc", &["10.0.0.1:8081", "10.0.0.2:8081"]).await;
    let lists = cluster.lists();

    cluster.delete(SLICES, "a-x");
    cluster.put(SLICES, slice("a-z", "a-svc", &[("a-3", "10.0.0.3", ready())]));
    cluster.forget_history();
    sees(&mut watch, "a-svc", &["10.0.0.2:8081", "10.0.0.3:8081"]).await;
    eventually(async || (cluster.lists() > lists).then_some(())).await;
}

#[tokio::test]
async fn an_outage_of_the_cluster_empties_nothing() {
    let cluster = Cluster::start().await;
    cluster.put(SLICES, slice("a-x", "a-svc", &[("a-1", "10.0.0.1", ready())]));
    let registry = open(&cluster).await;
    let mut watch = registry.watch();
    sees(&mut watch, "a-svc", &["10.0.0.1:8081"]).await;

    cluster.away(true);
    cluster.put(SLICES, slice("a-x", "a-svc", &[("a-2", "10.0.0.2", ready())]));
    let changed = tokio::time::timeout(Duration::from_secs(1), watch.changed()).await;
    assert!(changed.is_err(), "what was known holds");
    let registered = registry.register(instance("a-svc", "a-1", "10.0.0.1:8081")).await;
    assert!(registered.is_ok(), "a process starts all the same");
    cluster.away(false);
    sees(&mut watch, "a-svc", &["10.0.0.2:8081"]).await;
}

#[tokio::test]
async fn registering_only_asks_whether_the_process_may_watch() {
    let cluster = Cluster::start().await;
    let registry = open(&cluster).await;
    let registration = registry.register(instance("a-svc", "1", "h:1")).await.unwrap();
    assert!(registry.watch().borrow().is_empty(), "the kubelet announces");
    registration.deregister().await.unwrap();
    registration.deregister().await.unwrap();

    cluster.forbid();
    let refused = registry.register(instance("a-svc", "1", "h:1")).await.err().unwrap();
    assert!(refused.to_string().contains("Role that may list and watch endpointslices"));
}
