//! From slices and pods to instances.
//!
//! | of the instance | where it stands |
//! |---|---|
//! | service | label `mainstay/service` of the slice, which has the labels of its Service; else the Service's name |
//! | id | name of the pod |
//! | address, admin address | the endpoint, with the slice's ports by name |
//! | zone | the endpoint |
//! | version | label `app.kubernetes.io/version` of the pod |
//! | descriptor hash | annotation `mainstay/descriptor-hash` of the pod; else the hash of its template |
//!
//! The hash of the template serves, for a pod cannot serve other contracts without another template;
//! who watches asks anew with each rollout, and only then.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt as _;
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::Event;

use crate::kernel::registry::{Instance, Snapshot};
use crate::kernel::settings::KubernetesSettings;

const SERVICE: &str = "mainstay/service";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const VERSION: &str = "app.kubernetes.io/version";
const DESCRIPTOR_HASH: &str = "mainstay/descriptor-hash";
/// Labels by which Deployments, StatefulSets and DaemonSets mark the template of a pod.
const TEMPLATE_HASHES: [&str; 2] = ["pod-template-hash", "controller-revision-hash"];

/// Objects of one kind, by name, as a watch tells of them.
pub(super) struct Objects<K> {
    known: BTreeMap<String, K>,
    /// Those of a list that is still coming.
    coming: Option<BTreeMap<String, K>>,
    complete: bool,
}

impl<K: kube::Resource> Objects<K> {
    pub(super) fn new() -> Self {
        Self { known: BTreeMap::new(), coming: None, complete: false }
    }

    /// Whether a list has come to its end at least once.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes an event in; says whether what is known has changed.
    pub(super) fn take(&mut self, event: Event<K>) -> bool {
        match event {
            Event::Init => self.coming = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                self.coming.get_or_insert_default().insert(object.name_any(), object);
            }
            Event::InitDone => {
                self.known = self.coming.take().unwrap_or_default();
                self.complete = true;
            }
            Event::Apply(object) => drop(self.known.insert(object.name_any(), object)),
            Event::Delete(object) => drop(self.known.remove(&object.name_any())),
        }
        self.coming.is_none()
    }
}

/// The instances that slices list as ready. An endpoint may stand in several slices.
pub(super) fn snapshot(
    slices: &Objects<EndpointSlice>,
    pods: &Objects<PartialObjectMeta<Pod>>,
    settings: &KubernetesSettings,
) -> Snapshot {
    let mut found: BTreeMap<(String, String), Instance> = BTreeMap::new();
    for slice in slices.known.values() {
        for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
            if let Some(instance) = instance(slice, endpoint, pods, settings) {
                found.insert((instance.service.clone(), instance.id.clone()), instance);
            }
        }
    }
    let mut snapshot = Snapshot::new();
    for instance in found.into_values() {
        snapshot.entry(instance.service.clone()).or_default().push(instance);
    }
    snapshot
}

/// By the interface's own words, a state that is not stated is ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn instance(
    slice: &EndpointSlice,
    endpoint: &Endpoint,
    pods: &Objects<PartialObjectMeta<Pod>>,
    settings: &KubernetesSettings,
) -> Option<Instance> {
    let labels = slice.labels();
    let service = labels.get(SERVICE).or_else(|| labels.get(SERVICE_NAME))?;
    let host = endpoint.addresses.first()?;
    let address = address(host, port(slice, &settings.port)?);
    let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
    let metadata = pod.as_ref().and_then(|name| pods.known.get(name));
    let label = |name: &str| metadata.and_then(|pod| pod.labels().get(name)).cloned();
    let stated = metadata.and_then(|pod| pod.annotations().get(DESCRIPTOR_HASH)).cloned();
    let template = || TEMPLATE_HASHES.into_iter().find_map(label).map(|hash| template(&hash));
    Some(Instance {
        id: pod.unwrap_or_else(|| address.clone()),
        service: service.clone(),
        version: label(VERSION).unwrap_or_default(),
        descriptor_hash: stated.or_else(template).unwrap_or_default(),
        admin_address: port(slice, &settings.admin_port)
            .map(|port| self::address(host, port))
            .unwrap_or_default(),
        zone: endpoint.zone.clone().unwrap_or_default(),
        address,
    })
}

fn template(hash: &str) -> String {
    format!("template-{hash}")
}

fn port(slice: &EndpointSlice, name: &str) -> Option<i32> {
    let mut ports = slice.ports.iter().flatten();
    ports.find(|port| port.name.as_deref() == Some(name))?.port
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
