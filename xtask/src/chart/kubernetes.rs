//! Every object of Kubernetes by the schema that its version publishes, unknown fields refused. Those of
//! [operators] are looked at elsewhere.
//!
//! The schemas come with a Python package, which is installed below the target folder once.

use serde_json::{Value, json};

use super::helm::Case;
use super::objects::id;
use super::operators;
use crate::{python, workspace};

/// The package with the schemas, and the only version of it that is taken.
const PACKAGE: &str = "kubernetes-validate==1.37.0";

/// Every object that its API server would refuse.
pub(super) fn faults(rendered: &[(&Case, &str, Vec<Value>)]) -> anyhow::Result<Vec<String>> {
    let entries: Vec<_> = rendered.iter().flat_map(entries).collect();
    let folder = workspace::target_folder().join("chart/python");
    let entries = Value::Array(entries).to_string();
    python::lines(&folder, PACKAGE, include_str!("kubernetes.py"), &entries)
}

fn entries(rendered: &(&Case, &str, Vec<Value>)) -> Vec<Value> {
    let (case, version, objects) = rendered;
    let minor = version.rsplit_once('.').map_or(*version, |(minor, _)| minor);
    let own = objects.iter().filter(|object| !operators::bring(object));
    let entry = |object: &Value| {
        let place = format!("{case} on {version}: {}", id(object));
        json!({ "where": place, "version": minor, "object": object })
    };
    own.map(entry).collect()
}
