//! Dashboards for Grafana: defined here, written to `helm/dashboards`, rendered by the chart.
//!
//! They lie beside the checks of the chart because they are checked with what it renders: each panel
//! asks for metrics and labels that the platform exports or that the chart's rules record. A service
//! that is added to the platform has its dashboard with the next `chart check --bless`.

mod board;
mod database;
mod events;
mod gateway;
mod mesh;
mod model;
mod overview;
mod query;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::exported::Exported;
use super::helm::Case;
use super::objects::{list, of_kind, text};
use super::rules::{promtool, recorded, rendered_rules};
use crate::mesh::{SERVICES, gateway as edge};
use crate::workspace;

const FOLDER: &str = "helm/dashboards";

/// That of any service, from which the chart makes those of services that are not ours. It is no dashboard
/// as it lies there, so it lies elsewhere.
const OF_ANY: &str = "helm/files/service-dashboard.json";

/// The longest name that Grafana takes.
const MAX_UID: usize = 40;

/// What stands in the place of Grafana's variables when an expression is parsed.
const VARIABLES: [(&str, &str); 2] = [("$__rate_interval", "5m"), ("$target", "0.999")];

/// Dashboards that are not those of the definition, or ask for what is not there; `bless` writes them.
pub(super) fn faults(
    root: &Path,
    rendered: &[(&Case, &str, Vec<Value>)],
    exported: &Exported,
    bless: bool,
) -> anyhow::Result<Vec<String>> {
    let files = files();
    let mut faults = differences(&root.join(FOLDER), &files, bless)?;
    let of_any = service::board(service::ANY).json();
    faults.extend(difference(&root.join(OF_ANY), &of_any, bless)?);
    faults.extend(twice(files.values()));
    let recorded = rendered_rules(rendered).map(recorded).unwrap_or_default();
    for (file, board) in &files {
        let unknown = expressions(board).into_iter().flat_map(|it| exported.unknown(it, &recorded));
        faults.extend(unknown.map(|fault| format!("{file}: {fault}")));
    }
    faults.extend(unparsed(&files)?);
    let all = files.iter().map(|(file, board)| (file.as_str(), board));
    faults.extend(model::faults(all.chain([(OF_ANY, &of_any)]))?);
    faults.extend(unrendered(rendered));
    Ok(faults)
}

/// Every dashboard by its file.
fn files() -> BTreeMap<String, Value> {
    let of_platform =
        [overview::board(), gateway::board(), events::board(), database::board(), mesh::board()];
    let services = SERVICES.iter().map(|service| service.name).filter(|name| *name != edge().name);
    let of_services = services.map(|name| (format!("service-{name}.json"), service::board(name)));
    let named = |board: board::Board| {
        (format!("{}.json", board.uid.trim_start_matches("mainstay-")), board)
    };
    let all = of_platform.into_iter().map(named).chain(of_services);
    all.map(|(file, board)| (file, board.json())).collect()
}

/// Files of a folder that are others than `wanted`.
fn differences(
    folder: &Path,
    wanted: &BTreeMap<String, Value>,
    bless: bool,
) -> anyhow::Result<Vec<String>> {
    std::fs::create_dir_all(folder)?;
    let mut faults = Vec::new();
    for (file, board) in wanted {
        faults.extend(difference(&folder.join(file), board, bless)?);
    }
    for entry in std::fs::read_dir(folder).with_context(|| format!("{FOLDER} cannot be read"))? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        if !wanted.contains_key(&file) {
            faults.push(format!("{FOLDER}/{file} is defined nowhere: remove it"));
        }
    }
    Ok(faults)
}

fn difference(path: &Path, wanted: &Value, bless: bool) -> anyhow::Result<Option<String>> {
    let text = format!("{}\n", serde_json::to_string_pretty(wanted)?);
    if bless {
        std::fs::write(path, text)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        return Ok(None);
    }
    let is_it = std::fs::read_to_string(path).is_ok_and(|written| written == text);
    let name = path.display();
    Ok((!is_it).then(|| format!("{name} is not what is defined; cargo xtask chart check --bless")))
}

/// Names that two dashboards share, or two panels of one, and names that are too long.
fn twice<'a>(boards: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for board in boards {
        let uid = text(board, "/uid");
        if !names.insert(uid) || uid.len() > MAX_UID {
            faults.push(format!("two dashboards are named {uid}, or it is longer than {MAX_UID}"));
        }
        let mut ids = BTreeSet::new();
        let again = list(board, "/panels").iter().filter(|panel| !ids.insert(panel["id"].as_u64()));
        faults.extend(again.map(|panel| format!("{uid} has two panels {}", panel["id"])));
    }
    faults
}

fn expressions(board: &Value) -> Vec<&str> {
    let targets = list(board, "/panels").iter().flat_map(|panel| list(panel, "/targets"));
    targets.map(|target| text(target, "/expr")).collect()
}

/// What Prometheus would refuse: each expression as the rule of a file that promtool checks.
fn unparsed(files: &BTreeMap<String, Value>) -> anyhow::Result<Option<String>> {
    let folder = workspace::target_folder().join("chart");
    std::fs::create_dir_all(&folder)?;
    let group = |(file, board): (&String, &Value)| {
        let rules = expressions(board).into_iter().enumerate();
        let rules = rules
            .map(|(number, it)| json!({"record": format!("panel:{number}"), "expr": plain(it)}));
        json!({"name": file, "rules": rules.collect::<Vec<_>>()})
    };
    let groups: Vec<_> = files.iter().map(group).collect();
    std::fs::write(folder.join("panels.yaml"), json!({"groups": groups}).to_string())?;
    let arguments = ["check", "rules", "--lint=none", "panels.yaml"];
    Ok(promtool("dashboards", &folder, &arguments))
}

fn plain(expression: &str) -> String {
    VARIABLES.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// What the chart renders as a dashboard and is no JSON of one.
fn unrendered(rendered: &[(&Case, &str, Vec<Value>)]) -> Vec<String> {
    let objects = rendered.iter().flat_map(|(_, _, objects)| of_kind(objects, "ConfigMap"));
    let data: Vec<_> = objects
        .filter(|object| object.pointer("/metadata/labels/grafana_dashboard").is_some())
        .flat_map(|object| object["data"].as_object().into_iter().flatten())
        .collect();
    if data.is_empty() {
        return vec!["no values render dashboards".to_owned()];
    }
    let is_sound = |json: &Value| {
        let board = serde_json::from_str::<Value>(json.as_str().unwrap_or_default());
        board.is_ok_and(|board| !text(&board, "/uid").contains(service::ANY))
    };
    let unsound = data.into_iter().filter(|(_, json)| !is_sound(json));
    unsound
        .map(|(file, _)| format!("{file} is rendered as no dashboard"))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_a_dashboard_of_its_own() {
        let files = files();
        for service in SERVICES.iter().filter(|service| service.name != edge().name) {
            let board = &files[&format!("service-{}.json", service.name)];
            let wanted = format!("job=\"{}\"", service.name);
            let expressions = expressions(board);
            assert!(!expressions.is_empty() && expressions.iter().all(|it| it.contains(&wanted)));
        }
    }

    #[test]
    fn a_dashboard_that_differs_or_is_nobodys_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = BTreeMap::from([("a.json".to_owned(), json!({"uid": "a"}))]);
        let found = |bless| differences(folder.path(), &wanted, bless).unwrap();
        assert_eq!(found(false).len(), 1, "it is not there");
        assert_eq!(found(true), Vec::<String>::new());
        assert_eq!(found(false), Vec::<String>::new());
        std::fs::write(folder.path().join("b.json"), "{}").unwrap();
        assert_eq!(found(false).len(), 1, "nobody defined it");
    }

    #[test]
    fn names_are_given_once() {
        let panels = json!([{"id": 1}, {"id": 1}]);
        let boards = [json!({"uid": "a"}), json!({"uid": "a", "panels": panels})];
        assert_eq!(twice(boards.iter()).len(), 2);
        assert_eq!(twice(boards[..1].iter()), Vec::<String>::new());
    }
}
