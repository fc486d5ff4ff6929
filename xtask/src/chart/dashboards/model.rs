//! Dashboards by Grafana's own model of them: a name or a kind that it does not know it passes over in
//! silence, and a panel looks otherwise than it was meant.
//!
//! The model comes with a Python package of Grafana's makers, installed below the target folder once.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::infra::output_of_input;
use crate::{python, workspace};

/// The package with the model, and the only version of it that is taken.
const PACKAGE: &str = "grafana-foundation-sdk==0.0.21";

/// What Grafana would read otherwise than it is written, of dashboards by their files.
pub(super) fn faults<'a>(
    boards: impl Iterator<Item = (&'a str, &'a Value)>,
) -> anyhow::Result<Vec<String>> {
    let boards: BTreeMap<_, _> = boards.collect();
    let folder = workspace::target_folder().join("chart/grafana");
    let python = python::with_package(&folder, PACKAGE)?.join("python");
    let mut command = Command::new(python);
    command.args(["-c", include_str!("model.py")]);
    let said = output_of_input(&mut command, &serde_json::to_string(&boards)?)?;
    Ok(said.lines().map(str::to_owned).collect())
}
