//! Alerts: checked and tested by promtool, and made of metrics that the platform exports.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::exported::Exported;
use super::helm::Case;
use super::objects::{list, of_kind, text};
use super::runbooks;
use crate::infra::{find_program, output};
use crate::workspace;

/// The values whose rules `helm/tests/alerts.yaml` tests.
const TESTED: &str = "production";

/// Rules that are unsound, and metrics in them that nobody exports.
pub(super) fn faults(
    root: &Path,
    rendered: &[(&Case, &str, Vec<Value>)],
    exported: &Exported,
) -> anyhow::Result<Vec<String>> {
    let Some(spec) = rendered_rules(rendered) else {
        return Ok(vec![format!("{TESTED} renders no alerts")]);
    };
    let recorded = recorded(spec);
    let unknown =
        self::rules(spec).flat_map(|rule| exported.unknown(text(rule, "/expr"), &recorded));
    let mut faults: Vec<_> = unknown.map(|fault| format!("alerts: {fault}")).collect();
    faults.extend(runbooks::faults(root, self::rules(spec))?);
    if find_program("promtool").is_none() {
        eprintln!(
            "the alerts were not tested: promtool is not installed\n\
             mend: sudo apt-get install --yes --no-install-recommends prometheus"
        );
        return Ok(faults);
    }
    let folder = workspace::target_folder().join("chart");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("rules.yaml"), spec.to_string())?;
    std::fs::copy(root.join("helm/tests/alerts.yaml"), folder.join("alerts.yaml"))?;
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "alerts.yaml"]] {
        faults.extend(promtool("alerts", &folder, &arguments));
    }
    Ok(faults)
}

/// The rules that the tests of alerts are of.
pub(super) fn rendered_rules<'a>(rendered: &'a [(&Case, &str, Vec<Value>)]) -> Option<&'a Value> {
    let (_, _, objects) = rendered.iter().find(|(case, ..)| case.name == TESTED)?;
    of_kind(objects, "PrometheusRule").find_map(|object| object.get("spec"))
}

/// What promtool has against something in a folder; nothing where it is not installed, which the checks of
/// alerts say.
pub(super) fn promtool(what: &str, folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(find_program("promtool")?);
    command.current_dir(folder).args(arguments);
    output(&mut command).err().map(|error| format!("{what}: {error}"))
}

/// What the rules of an installation record.
pub(super) fn recorded(spec: &Value) -> BTreeSet<&str> {
    rules(spec).map(|rule| text(rule, "/record")).filter(|name| !name.is_empty()).collect()
}

fn rules(spec: &Value) -> impl Iterator<Item = &Value> {
    list(spec, "/groups").iter().flat_map(|group| list(group, "/rules"))
}
