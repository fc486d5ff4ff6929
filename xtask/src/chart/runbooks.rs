//! Every alert leads to a page that says what to do, and every page is led to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::helm::documents;
use super::objects::{list, text};

const FOLDER: &str = "docs/runbooks";

/// What a page says, each under its heading.
const HEADINGS: [&str; 6] =
    ["What it means", "Who is hit", "Look", "Mend", "It is over when", "Rehearsed"];

/// The list of all pages, to which no alert leads.
const INDEX: &str = "README.md";

/// Alerts without a page, pages without an alert, pages that say too little, and alerts that are not
/// tested to fire and to be silent.
pub(super) fn faults<'a>(
    root: &Path,
    rules: impl Iterator<Item = &'a Value>,
) -> anyhow::Result<Vec<String>> {
    let alerts: Vec<_> = rules.filter(|rule| !text(rule, "/alert").is_empty()).collect();
    let tests = documents(&std::fs::read_to_string(root.join("helm/tests/alerts.yaml"))?)?;
    let mut faults = untested(&alerts, tests.first().unwrap_or(&Value::Null));
    faults.extend(unmatched(&alerts, &pages(&root.join(FOLDER))?));
    Ok(faults)
}

fn pages(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{FOLDER} cannot be read"))?;
    let mut pages = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        pages.insert(name, std::fs::read_to_string(&path)?);
    }
    Ok(pages)
}

fn unmatched(alerts: &[&Value], pages: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut led_to = BTreeSet::new();
    for rule in alerts {
        let alert = text(rule, "/alert");
        let url = text(rule, "/annotations/runbook_url");
        let name = url.rsplit('/').next().unwrap_or_default();
        match pages.get(name) {
            None => faults.push(format!("{alert} leads to {FOLDER}/{name}, which is not there")),
            Some(page) if !page.contains(&format!("`{alert}`")) => {
                faults.push(format!("{FOLDER}/{name} does not name {alert}, which leads to it"));
            }
            Some(_) => {}
        }
        led_to.insert(name);
    }
    let index = pages.get(INDEX).map(String::as_str).unwrap_or_default();
    for (name, page) in pages.iter().filter(|(name, _)| *name != INDEX) {
        if !led_to.contains(name.as_str()) {
            faults.push(format!("no alert leads to {FOLDER}/{name}"));
        }
        if !index.contains(&format!("({name})")) {
            faults.push(format!("{FOLDER}/{INDEX} does not list {name}"));
        }
        let missing = HEADINGS.iter().filter(|it| !page.contains(&format!("\n## {it}\n")));
        faults.extend(missing.map(|it| format!("{FOLDER}/{name} does not say: {it}")));
    }
    faults
}

fn untested(alerts: &[&Value], tests: &Value) -> Vec<String> {
    let told = |alert: &str, is_silent: bool| {
        let expectations = list(tests, "/tests").iter().flat_map(|it| list(it, "/alert_rule_test"));
        let mut of_alert = expectations.filter(|it| text(it, "/alertname") == alert);
        of_alert.any(|it| list(it, "/exp_alerts").is_empty() == is_silent)
    };
    let names: BTreeSet<_> = alerts.iter().map(|rule| text(rule, "/alert")).collect();
    let not_firing = names.iter().filter(|alert| !told(alert, false));
    let not_silent = names.iter().filter(|alert| !told(alert, true));
    not_firing
        .map(|alert| format!("no test shows that {alert} fires"))
        .chain(not_silent.map(|alert| format!("no test shows {alert} silent")))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(alert: &str) -> String {
        HEADINGS.iter().fold(format!("`{alert}`\n"), |text, it| format!("{text}\n## {it}\n"))
    }

    #[test]
    fn alerts_and_pages_belong_together() {
        let alert = json!({"alert": "A", "annotations": {"runbook_url": "https://x/a.md"}});
        let pages = |pages: &[(&str, String)]| {
            pages.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect()
        };
        let sound = [("README.md", "[a](a.md)".to_owned()), ("a.md", page("A"))];
        assert_eq!(unmatched(&[&alert], &pages(&sound)), Vec::<String>::new());
        assert_eq!(unmatched(&[&alert], &pages(&sound[..1])).len(), 1, "no page");
        assert_eq!(unmatched(&[], &pages(&sound)).len(), 1, "no alert");
        let index = sound[0].clone();
        assert_eq!(unmatched(&[&alert], &pages(&[index.clone(), ("a.md", page("B"))])).len(), 1);
        let short = page("A").replace("## Mend", "");
        assert_eq!(unmatched(&[&alert], &pages(&[index, ("a.md", short)])).len(), 1);
        assert_eq!(unmatched(&[&alert], &pages(&sound[1..])).len(), 1, "in no list");
    }

    #[test]
    fn an_alert_is_tested_both_ways() {
        let alert = json!({"alert": "A", "labels": {"severity": "ticket"}});
        let fires = json!({"alertname": "A", "exp_alerts": [{}]});
        let silent = json!({"alertname": "A", "exp_alerts": []});
        let found =
            |told: Value| untested(&[&alert], &json!({"tests": [{"alert_rule_test": told}]})).len();
        assert_eq!([found(json!([])), found(json!([fires])), found(json!([silent]))], [2, 1, 1]);
        assert_eq!(found(json!([fires, silent])), 0);
    }
}
