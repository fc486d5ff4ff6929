//! Rendered objects, and what is asked of them.

use serde_json::Value;

/// `Deployment/mainstay-gateway`.
pub(super) fn id(object: &Value) -> String {
    format!("{}/{}", kind(object), name(object))
}

pub(super) fn kind(object: &Value) -> &str {
    text(object, "/kind")
}

pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// A string at a JSON pointer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list at a JSON pointer; empty where there is none.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The name of a container's image, without its repository and tag.
pub(super) fn image_name(container: &Value) -> &str {
    let image = text(container, "/image").rsplit('/').next().unwrap_or_default();
    image.split(':').next().unwrap_or_default()
}

/// Objects of a kind.
pub(super) fn of_kind<'a>(
    objects: &'a [Value],
    wanted: &'a str,
) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| kind(object) == wanted)
}

/// The object of a kind and name.
pub(super) fn find<'a>(objects: &'a [Value], wanted: &str, named: &str) -> Option<&'a Value> {
    objects.iter().find(|object| kind(object) == wanted && name(object) == named)
}

/// Something that makes pods.
pub(super) struct Pod<'a> {
    /// Of what it is a part.
    pub(super) owner: &'a Value,
    /// Its labels.
    pub(super) labels: &'a Value,
    /// Its specification.
    pub(super) spec: &'a Value,
}

/// Every pod that the objects make.
pub(super) fn pods(objects: &[Value]) -> Vec<Pod<'_>> {
    let pod = |owner| {
        let (labels, spec) = match kind(owner) {
            "Deployment" | "Job" => (
                owner.pointer("/spec/template/metadata/labels")?,
                owner.pointer("/spec/template/spec")?,
            ),
            "Pod" => (owner.pointer("/metadata/labels")?, owner.pointer("/spec")?),
            _ => return None,
        };
        Some(Pod { owner, labels, spec })
    };
    objects.iter().filter_map(pod).collect()
}

impl Pod<'_> {
    /// Whether a label selector chooses it.
    pub(super) fn is_selected(&self, labels: &Value) -> bool {
        labels.as_object().is_some_and(|wanted| {
            !wanted.is_empty()
                && wanted.iter().all(|(key, value)| self.labels.get(key) == Some(value))
        })
    }

    /// Its containers, those of its start first.
    pub(super) fn containers(&self) -> impl Iterator<Item = &Value> {
        list(self.spec, "/initContainers").iter().chain(list(self.spec, "/containers"))
    }

    /// Whether a container has a port, by name or number.
    pub(super) fn has_port(&self, wanted: &Value) -> bool {
        list(self.spec, "/containers").iter().any(|container| has_port(container, wanted))
    }
}

/// Whether a container has a port, by name or number.
pub(super) fn has_port(container: &Value, wanted: &Value) -> bool {
    list(container, "/ports")
        .iter()
        .any(|port| port.get("name") == Some(wanted) || port.get("containerPort") == Some(wanted))
}
