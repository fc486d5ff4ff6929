//! What the platform exports, read from where it is registered, so that no alert and no panel waits for
//! a metric or a label that is not there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

use crate::mesh::SERVICES;

/// What a kind of metric adds to the name under which it is registered, and its unit before that.
const KINDS: [&str; 6] = ["", "_total", "_info", "_count", "_bucket", "_sum"];
const UNITS: [&str; 4] = ["", "_seconds", "_bytes", "_ratio"];

/// Whether a target answers, which Prometheus itself says.
const OF_PROMETHEUS: &str = "up";

/// Labels that Prometheus gives: those of a target, and the bounds of buckets.
const TARGET_LABELS: [&str; 7] =
    ["namespace", "pod", "container", "instance", "job", "endpoint", "le"];

/// What stands before a list of labels.
const GROUPINGS: [&str; 6] = [" by", " on", "without", "ignoring", "group_left", "group_right"];

/// Names of metrics and labels.
pub(super) struct Exported {
    sources: String,
    labels: BTreeSet<String>,
}

impl Exported {
    /// From the pages `metrics.rs` of the kernel, and from every process.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut sources = String::new();
        let of_services = SERVICES.iter().map(|service| service.name);
        let crates = of_services.map(|name| (root.join(name).join("src"), true));
        for (folder, all) in std::iter::once((root.join("src"), false)).chain(crates) {
            read_pages(&folder, all, &mut sources)?;
        }
        Ok(Self::of(sources))
    }

    fn of(sources: String) -> Self {
        let labels = labels_of(&sources).into_iter().chain(TARGET_LABELS.map(str::to_owned));
        let labels = labels.collect();
        Self { sources, labels }
    }

    /// What an expression asks for and nobody exports; `recorded` are the names that rules give.
    pub(super) fn unknown(&self, expression: &str, recorded: &BTreeSet<&str>) -> Vec<String> {
        let metrics = self.unknown_metrics(expression).into_iter();
        let metrics = metrics.filter(|name| !recorded.contains(name));
        let metrics = metrics.map(|name| format!("{name} is a metric that nobody exports"));
        let labels = self.unknown_labels(expression).into_iter();
        metrics.chain(labels.map(|name| format!("{name} is a label that nothing has"))).collect()
    }

    /// The metrics of an expression, each with a selector, that nobody exports.
    fn unknown_metrics<'a>(&self, expression: &'a str) -> BTreeSet<&'a str> {
        let is_unknown = |name: &&str| *name != OF_PROMETHEUS && !self.is_exported(name);
        metrics(expression).into_iter().filter(is_unknown).collect()
    }

    /// The labels of an expression that no metric has and that it does not make itself.
    fn unknown_labels<'a>(&self, expression: &'a str) -> BTreeSet<&'a str> {
        let is_made = |label: &str| expression.contains(&format!("\"{label}\""));
        let is_known = |label: &str| self.labels.contains(label) || is_made(label);
        labels(expression).into_iter().filter(|label| !is_known(label)).collect()
    }

    fn is_exported(&self, name: &str) -> bool {
        let is_registered = |name: &str| self.sources.contains(&format!("\"{name}\""));
        let without_kind = KINDS.iter().filter_map(|kind| name.strip_suffix(kind));
        let mut without_unit = without_kind
            .flat_map(|name| UNITS.iter().filter_map(move |unit| name.strip_suffix(unit)));
        without_unit.any(is_registered)
    }
}

/// Reads the files whose name or folder is `metrics`, or all of them.
fn read_pages(folder: &Path, all: bool, sources: &mut String) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_page = all || path.file_stem().is_some_and(|stem| stem == "metrics");
        if path.is_dir() {
            read_pages(&path, is_page, sources)?;
        } else if is_page && path.extension().is_some_and(|it| it == "rs") {
            sources.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The fields of every set of labels, and what stands in an info.
fn labels_of(sources: &str) -> BTreeSet<String> {
    let sets = sources.split("EncodeLabelSet)]").skip(1);
    let bodies = sets.filter_map(|set| set.split_once('{')?.1.split_once("\n}"));
    let fields = bodies.flat_map(|(body, _)| body.lines()).map(str::trim);
    let fields = fields.filter(|line| !line.starts_with("//") && !line.starts_with('#'));
    let names = fields.filter_map(|line| line.split_once(':')).map(|(name, _)| name);
    let names = names.filter_map(|name| name.rsplit(' ').next());
    let infos = sources.split("Info::new(vec![").skip(1).filter_map(|rest| rest.split(']').next());
    let pairs = infos.flat_map(|pairs| pairs.split("(\"").skip(1));
    let of_infos = pairs.filter_map(|pair| pair.split('"').next());
    names.chain(of_infos).map(str::to_owned).collect()
}

/// Each metric of an expression: ours have a selector each.
fn metrics(expression: &str) -> Vec<&str> {
    selectors(expression).into_iter().map(|(name, _)| name).collect()
}

/// The labels that selectors, aggregations and matches name.
fn labels(expression: &str) -> Vec<&str> {
    let matchers = selectors(expression).into_iter().flat_map(|(_, inside)| split(inside));
    let matched = matchers.filter_map(|matcher| matcher.split(['=', '!']).next());
    let grouped = GROUPINGS.iter().flat_map(|word| expression.split(word).skip(1));
    let lists = grouped.filter_map(|rest| rest.trim_start().strip_prefix('(')?.split(')').next());
    let grouped = lists.flat_map(|list| list.split(','));
    matched.chain(grouped).map(str::trim).filter(|label| !label.is_empty()).collect()
}

/// Each metric with what stands in its braces.
fn selectors(expression: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = find(expression, from, '{') {
        let close = find(expression, open + 1, '}').unwrap_or(expression.len());
        let name = expression[..open].rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
        found.push((&expression[name..open], &expression[open + 1..close]));
        from = close;
    }
    found
}

/// The parts between commas that are in no quotes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(comma) = find(text, from, ',') {
        parts.push(&text[from..comma]);
        from = comma + 1;
    }
    parts.push(&text[from..]);
    parts
}

/// Where a character next stands in no quotes; `from` is in none.
fn find(text: &str, from: usize, wanted: char) -> Option<usize> {
    let mut is_quoted = false;
    let is_it = |(_, c): &(usize, char)| {
        is_quoted ^= *c == '"';
        !is_quoted && *c == wanted
    };
    text[from..].char_indices().find(is_it).map(|(at, _)| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: &str = "#[derive(EncodeLabelSet)]\nstruct Labels {\n    /// So: it is.\n    \
        consumer: String,\n    pub(super) job: String,\n}\n\
        register(\"mainstay_dead_letters\", \"rpc_call\", \"body_size\")";

    #[test]
    fn metrics_and_labels_are_found_in_expressions() {
        let found = metrics("sum(rate(a_total{x=\"y\"}[5m])) / b:c{z=\"{1}\",q!~\"a,b\"} > 0");
        assert_eq!(found, ["a_total", "b:c"]);
        let found = labels("sum by (a, b) (c{d=\"e{x},f=g\",h!=\"i\"}) and on() j{}");
        assert_eq!(found, ["d", "h", "a", "b"]);
    }

    #[test]
    fn what_nobody_exports_is_unknown() {
        let exported = Exported::of(SOURCES.to_owned());
        let known =
            "mainstay_dead_letters_total{} rpc_call_seconds_count{} body_size_bytes_sum{} up{}";
        assert_eq!(exported.unknown_metrics(known), BTreeSet::new());
        assert_eq!(exported.unknown_metrics("mainstay_dead{}"), BTreeSet::from(["mainstay_dead"]));
        let known = "sum by (consumer, job, le) (label_replace(a{job=\"b\"}, \"id\")) by (id)";
        assert_eq!(exported.unknown_labels(known), BTreeSet::new());
        let unknown = exported.unknown_labels("sum by (exported_job, So) (a{b=\"c\"})");
        assert_eq!(unknown, BTreeSet::from(["So", "b", "exported_job"]));
    }

    #[test]
    fn what_nobody_exports_is_told() {
        let exported = Exported::of(SOURCES.to_owned());
        let recorded = BTreeSet::from(["a:b"]);
        let known = "sum by (job) (rate(mainstay_dead_letters_total{job=\"x\"}[5m])) + a:b{}";
        assert_eq!(exported.unknown(known, &recorded), Vec::<String>::new());
        assert_eq!(exported.unknown("sum by (nothing) (a:c{})", &recorded).len(), 2);
    }

    #[test]
    fn the_platform_exports_what_it_is_known_for() {
        let exported = Exported::read(&crate::workspace::root()).unwrap();
        let known = "sum by (rpc_method) (rpc_server_call_duration_seconds_bucket{}) mainstay_build_info{version=\"\"} gateway_over_limit_total{}";
        assert_eq!(exported.unknown_metrics(known), BTreeSet::new());
        assert_eq!(exported.unknown_labels(known), BTreeSet::new());
    }
}
