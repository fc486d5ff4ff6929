//! Builds the workspace, with its progress in view.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::terminal::Screen;
use crate::workspace;

/// What cargo calls its status lines; anything else it writes is for the person to read.
const STATUS_WORDS: [&str; 12] = [
    "Adding",
    "Blocking",
    "Building",
    "Checking",
    "Compiling",
    "Dirty",
    "Downloaded",
    "Downloading",
    "Finished",
    "Fresh",
    "Locking",
    "Updating",
];

/// What cargo builds by default, and the examples.
pub(crate) const WITH_EXAMPLES: [&str; 3] = ["--lib", "--bins", "--examples"];

/// All of it.
const WORKSPACE: [&str; 1] = ["--workspace"];

#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

/// Builds all of it at once: parts of it would be built with other features of their dependencies.
pub(crate) fn run(release: bool) -> anyhow::Result<()> {
    match release {
        true => build("building, optimized", &WORKSPACE, &["--release"]),
        false => build("building", &WORKSPACE, &[]),
    }
}

/// As [`run`], with the examples, which some stories run.
pub(crate) fn run_with_examples() -> anyhow::Result<()> {
    build("building", &WORKSPACE, &WITH_EXAMPLES)
}

/// Builds what `bench` measures with. It stands alone: no other build has its profile, and nothing
/// that is there for tests is to be in it.
pub(crate) fn run_bench(packages: &[&str]) -> anyhow::Result<()> {
    let packages: Vec<&str> = packages.iter().flat_map(|name| ["--package", *name]).collect();
    build("building what is measured, optimized", &packages, &["--profile", "bench"])
}

fn build(what: &str, packages: &[&str], more: &[&str]) -> anyhow::Result<()> {
    let screen = Arc::new(Screen::new(crate_count(packages)));
    screen.doing(what);
    let mut command = workspace::cargo();
    command.args(["build", "--message-format=json-render-diagnostics"]);
    command.args(packages).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    if screen.is_live() {
        command.args(["--color", "always"]).stderr(Stdio::piped());
    }
    let mut cargo = command.spawn().context("cargo cannot be started")?;
    let remarks = cargo.stderr.take().map(|stderr| {
        let screen = Arc::clone(&screen);
        std::thread::spawn(move || pass_on(stderr, &screen))
    });
    if let Some(stdout) = cargo.stdout.take() {
        count(stdout, &screen);
    }
    let status = cargo.wait()?;
    if let Some(remarks) = remarks {
        // A panic there would have lost remarks only.
        let _ = remarks.join();
    }
    if !status.success() {
        bail!("the build failed\nmend: correct the errors above");
    }
    Ok(())
}

/// How many crates a build consists of; 0 if cargo does not say.
fn crate_count(packages: &[&str]) -> u64 {
    let output = workspace::cargo()
        .args(["tree", "--edges", "normal,build", "--prefix", "none", "--quiet"])
        .args(packages)
        .stderr(Stdio::null())
        .output();
    output.map_or(0, |output| distinct_crates(&String::from_utf8_lossy(&output.stdout)))
}

fn distinct_crates(tree: &str) -> u64 {
    let names: HashSet<&str> = tree
        .lines()
        .map(|line| line.trim_end_matches("(*)").trim_end_matches("(proc-macro) ").trim())
        .filter(|line| !line.is_empty())
        .collect();
    names.len() as u64
}

/// Moves the progress with each crate that is done.
fn count(messages: impl Read, screen: &Screen) {
    let mut crates = HashSet::new();
    for line in BufReader::new(messages).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if let ("compiler-artifact", Some(id), Some(target)) =
            (message.reason.as_str(), message.package_id, message.target)
        {
            crates.insert(id);
            screen.advance(crates.len() as u64, &target.name);
        }
    }
}

/// Shows warnings and errors above the progress, and status lines in it.
fn pass_on(remarks: impl Read, screen: &Screen) {
    for line in BufReader::new(remarks).lines().map_while(Result::ok) {
        let plain = without_colours(&line);
        let status =
            plain.split_whitespace().next().is_some_and(|word| STATUS_WORDS.contains(&word));
        if status {
            screen.doing(plain.trim());
        } else {
            screen.note(&line);
        }
    }
}

/// Text without its `ESC [ … m` sequences.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_counts_once() {
        let tree = "a v1.0.0 (/here)\nb v2.0.0\nb v2.0.0 (*)\nb v1.0.0\n\na v1.0.0 (/here) (*)\n";
        assert_eq!(distinct_crates(tree), 3);
    }

    #[test]
    fn colours_are_stripped() {
        assert_eq!(
            without_colours("\x1b[1m\x1b[92m   Compiling\x1b[0m ring v0.17"),
            "   Compiling ring v0.17"
        );
    }
}
