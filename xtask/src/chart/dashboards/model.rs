//! Dashboards by Grafana's own model of them: a name or a kind that it does not know it passes over in
//! silence, and a panel looks otherwise than it was meant.
//!
//! The model comes with a Python package of Grafana's makers, installed below the target folder once.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{python, workspace};

/// The package with the model, and the only version of it that is taken.
const PACKAGE: &str = "grafana-foundation-sdk==0.0.21";

/// What Grafana would read otherwise than it is written, of dashboards by their files.
pub(super) fn faults<'a>(
    boards: impl Iterator<Item = (&'a str, &'a Value)>,
) -> anyhow::Result<Vec<String>> {
    let boards: BTreeMap<_, _> = boards.collect();
    let folder = workspace::target_folder().join("chart/grafana");
    python::lines(&folder, PACKAGE, include_str!("model.py"), &serde_json::to_string(&boards)?)
}
