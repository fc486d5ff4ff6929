//! Every object by the schema that its version of Kubernetes publishes, unknown fields refused.
//!
//! The schemas come with a Python package, which is installed below the target folder once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::helm::Case;
use super::objects::{id, text};
use crate::infra::{Missing, find_program, output, output_of_input};
use crate::workspace;

/// The package with the schemas, and the only version of it that is taken.
const PACKAGE: &str = "kubernetes-validate==1.37.0";

/// Kinds that no Kubernetes knows by itself: their schemas are those of the operators that bring them.
const BROUGHT_BY_OTHERS: [(&str, &str); 5] = [
    ("cert-manager.io/v1", "Certificate"),
    ("cert-manager.io/v1", "Issuer"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
];

/// Every object that its API server would refuse.
pub(super) fn faults(rendered: &[(&Case, &str, Vec<Value>)]) -> anyhow::Result<Vec<String>> {
    let entries: Vec<_> = rendered.iter().flat_map(entries).collect();
    let python = environment(&workspace::target_folder().join("chart/python"))?;
    let mut command = Command::new(python);
    command.args(["-c", include_str!("kubernetes.py")]);
    let said = output_of_input(&mut command, &Value::Array(entries).to_string())?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn entries(rendered: &(&Case, &str, Vec<Value>)) -> Vec<Value> {
    let (case, version, objects) = rendered;
    let minor = version.rsplit_once('.').map_or(*version, |(minor, _)| minor);
    let own = objects.iter().filter(|object| !is_brought_by_others(object));
    let entry = |object: &Value| {
        let place = format!("{case} on {version}: {}", id(object));
        json!({ "where": place, "version": minor, "object": object })
    };
    own.map(entry).collect()
}

fn is_brought_by_others(object: &Value) -> bool {
    BROUGHT_BY_OTHERS.contains(&(text(object, "/apiVersion"), text(object, "/kind")))
}

/// The interpreter of an environment that has the package.
fn environment(folder: &Path) -> anyhow::Result<PathBuf> {
    let python = folder.join("bin/python");
    // Named after what is in it, so that another version makes another one.
    let done = folder.join(PACKAGE);
    if done.exists() {
        return Ok(python);
    }
    let system = find_program("python3")
        .with_context(|| Missing::package("python3", "python3 python3-venv").to_string())?;
    eprintln!("installing {PACKAGE} to {}", folder.display());
    output(Command::new(system).args(["-m", "venv"]).arg(folder))
        .with_context(|| Missing::package("python3-venv", "python3-venv").to_string())?;
    output(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]))?;
    std::fs::write(done, "")?;
    Ok(python)
}
