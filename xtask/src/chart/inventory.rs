//! Which objects an installation consists of: written down, so that none comes or goes unnoticed.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::NEWEST;
use super::helm::Case;
use super::objects::{id, kind};

/// How many characters of a Job's name are its hash, with the dash before.
const HASH_LENGTH: usize = 9;

/// Cases whose objects are not those of `helm/tests/objects`; `bless` writes them there.
pub(super) fn faults(
    root: &Path,
    rendered: &[(&Case, &str, Vec<Value>)],
    bless: bool,
) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for (case, _, objects) in rendered.iter().filter(|(_, version, _)| *version == NEWEST) {
        let path = root.join(format!("helm/tests/objects/{case}.txt"));
        let found = inventory(objects);
        if bless {
            std::fs::create_dir_all(path.parent().unwrap_or(root))?;
            std::fs::write(&path, &found)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            continue;
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let added = found.lines().filter(|line| !written.lines().any(|it| it == *line));
        faults.extend(
            added.map(|line| format!("{case}: {line} is new; cargo xtask chart check --bless")),
        );
        let gone = written.lines().filter(|line| !found.lines().any(|it| it == *line));
        faults.extend(
            gone.map(|line| format!("{case}: {line} is gone; cargo xtask chart check --bless")),
        );
    }
    Ok(faults)
}

fn inventory(objects: &[Value]) -> String {
    let mut lines: Vec<_> = objects.iter().map(line).collect();
    lines.sort();
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

/// Without the hash, which every change of a pod changes.
fn line(object: &Value) -> String {
    let id = id(object);
    match kind(object) {
        "Job" => id[..id.len().saturating_sub(HASH_LENGTH)].to_owned(),
        _ => id,
    }
}
