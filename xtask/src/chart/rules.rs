//! Alerts: checked and tested by promtool, and made of metrics that the platform exports.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::helm::Case;
use super::objects::{list, of_kind, text};
use crate::infra::{find_program, output};
use crate::workspace;

/// Where metrics are registered.
const METRICS: [&str; 3] = [
    "src/kernel/telemetry/metrics.rs",
    "src/kernel/telemetry/metrics/kept.rs",
    "gateway/src/metrics.rs",
];

/// What a kind of metric adds to the name under which it is registered.
const SUFFIXES: [&str; 6] =
    ["_seconds_count", "_seconds_bucket", "_seconds_sum", "_seconds", "_total", "_info"];

/// Rules that are unsound, and metrics in them that nobody exports.
pub(super) fn faults(
    root: &Path,
    rendered: &[(&Case, &str, Vec<Value>)],
) -> anyhow::Result<Vec<String>> {
    let rules: Vec<_> = rendered
        .iter()
        .flat_map(|(_, _, objects)| of_kind(objects, "PrometheusRule"))
        .filter_map(|object| object.get("spec"))
        .collect();
    let Some(spec) = rules.first() else { return Ok(vec!["no values render alerts".to_owned()]) };
    let mut faults = unknown_metrics(root, spec)?;
    let Some(promtool) = find_program("promtool") else {
        eprintln!(
            "the alerts were not tested: promtool is not installed\n\
             mend: sudo apt-get install --yes --no-install-recommends prometheus"
        );
        return Ok(faults);
    };
    let folder = workspace::target_folder().join("chart");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("rules.yaml"), spec.to_string())?;
    std::fs::copy(root.join("helm/tests/alerts.yaml"), folder.join("alerts.yaml"))?;
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "alerts.yaml"]] {
        let mut command = Command::new(&promtool);
        command.current_dir(&folder).args(arguments);
        faults.extend(output(&mut command).err().map(|error| format!("alerts: {error}")));
    }
    Ok(faults)
}

fn unknown_metrics(root: &Path, spec: &Value) -> anyhow::Result<Vec<String>> {
    let mut sources = String::new();
    for path in METRICS {
        sources.push_str(&std::fs::read_to_string(root.join(path))?);
    }
    let groups = list(spec, "/groups").iter();
    let rules: Vec<_> = groups.flat_map(|group| list(group, "/rules")).collect();
    let recorded: BTreeSet<_> = rules.iter().map(|rule| text(rule, "/record")).collect();
    let used: BTreeSet<_> = rules.iter().flat_map(|rule| metrics(text(rule, "/expr"))).collect();
    let unknown =
        used.into_iter().filter(|name| !recorded.contains(name) && !is_exported(name, &sources));
    Ok(unknown.map(|name| format!("alerts use {name}, which nobody exports")).collect())
}

/// The names before braces: each metric in an expression of ours has a selector.
fn metrics(expression: &str) -> Vec<&str> {
    let before_braces = expression.split('{').rev().skip(1);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let last_name = |text: &'_ str| text.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
    before_braces.map(|text| &text[last_name(text)..]).collect()
}

fn is_exported(name: &str, sources: &str) -> bool {
    let is_registered = |name: &str| sources.contains(&format!("\"{name}\""));
    is_registered(name)
        || SUFFIXES.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(is_registered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_in_expressions_and_sources() {
        let found = metrics("sum(rate(a_total{x=\"y\"}[5m])) / b:c{z=\"1\"} > 0");
        assert_eq!(found, ["b:c", "a_total"]);
        let sources = "register(\"mainstay_dead_letters\", \"rpc_call\")";
        assert!(is_exported("mainstay_dead_letters_total", sources));
        assert!(is_exported("rpc_call_seconds_count", sources));
        assert!(!is_exported("mainstay_dead", sources));
    }
}
