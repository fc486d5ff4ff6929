//! The Prometheus of `deploy/compose.yaml`: it reads every process, and has the rules that the chart renders.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::helm::Case;
use super::rules::{promtool, rendered_rules};
use crate::mesh::{PortOffset, SERVICES};

const SETTINGS: &str = "deploy/observe/prometheus.yaml";
const RULES: &str = "deploy/observe/rules.yaml";

/// Rules that differ from those of the chart, processes that nobody reads, and what promtool refuses;
/// `bless` writes the rules.
pub(super) fn faults(
    root: &Path,
    rendered: &[(&Case, &str, Vec<Value>)],
    bless: bool,
) -> anyhow::Result<Vec<String>> {
    let spec = rendered_rules(rendered).context("no values render rules")?;
    let wanted = format!(
        "# The rules of the chart, written by cargo xtask chart check --bless.\n{}",
        serde_yaml_ng::to_string(spec)?
    );
    let path = root.join(RULES);
    if bless {
        std::fs::write(&path, &wanted)?;
    }
    let mut faults = Vec::new();
    if std::fs::read_to_string(&path).ok() != Some(wanted) {
        faults.push(format!(
            "{RULES} has other rules than the chart; cargo xtask chart check --bless"
        ));
    }
    let settings = std::fs::read_to_string(root.join(SETTINGS))?;
    faults.extend(unread(&serde_yaml_ng::from_str(&settings)?));
    faults.extend(promtool(SETTINGS, root, &["check", "config", SETTINGS]));
    Ok(faults)
}

/// Processes that are not read at their admin port under their own name.
fn unread(settings: &Value) -> Vec<String> {
    let jobs = settings["scrape_configs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reads = |name: &str, address: &str| {
        jobs.iter()
            .any(|job| job["job_name"] == name && job["static_configs"][0]["targets"][0] == address)
    };
    let addresses = SERVICES
        .iter()
        .map(|service| (service.name, service.admin_address(PortOffset::default()).to_string()));
    let unread = addresses.filter(|(name, address)| !reads(name, address));
    unread.map(|(name, address)| format!("{SETTINGS} does not read {name} at {address}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_process_that_nobody_reads_is_named() {
        assert_eq!(unread(&json!({})).len(), SERVICES.len());
        let elsewhere = json!({"scrape_configs": [
            {"job_name": "gateway", "static_configs": [{"targets": ["127.0.0.1:18080"]}]},
            {"job_name": "auth-svc", "static_configs": [{"targets": ["127.0.0.1:18080"]}]},
        ]});
        let unread = unread(&elsewhere);
        assert_eq!(unread.len(), SERVICES.len() - 1);
        assert!(unread.iter().any(|fault| fault.contains("auth-svc at 127.0.0.1:18081")));
    }
}
