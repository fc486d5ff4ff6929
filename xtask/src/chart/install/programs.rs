//! The programs of the control plane, and the definitions that operators bring, out of Go modules.
//!
//! `go install` takes no module that replaces its requirements, as Kubernetes' does by parts of its own
//! tree. Each such part is published as a module of its own, so a module is written here that requires
//! Kubernetes and replaces every part by what was published of it, and the programs are built in that.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::home::Home;
use crate::infra::{Missing, find_program, output};
use crate::{chart, files};

/// The module of Kubernetes, and the programs of it that run here.
const MODULE: &str = "k8s.io/kubernetes";
const PROGRAMS: [&str; 2] = ["kube-apiserver", "kube-controller-manager"];

/// The version: the newest that the chart is rendered for, in the patch that is built.
const VERSION: &str = "v1.37.2";

/// How a module of Kubernetes' tree is required there.
const UNVERSIONED: &str = "v0.0.0";

/// Where `go` lies when it is not on the path: where its own archive is unpacked.
const GO: &str = "/usr/local/go/bin/go";

/// What operators publish of their kinds: module, version, folder, and the beginnings of files' names.
const DEFINITIONS: [(&str, &str, &str, &[&str]); 3] = [
    (
        "github.com/cert-manager/cert-manager",
        "v1.21.2",
        "deploy/crds",
        &["cert-manager.io_certificates.", "cert-manager.io_issuers."],
    ),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd",
        &[
            "monitoring.coreos.com_podmonitors.",
            "monitoring.coreos.com_prometheusrules.",
            "monitoring.coreos.com_servicemonitors.",
        ],
    ),
    (
        "sigs.k8s.io/gateway-api",
        "v1.6.0",
        "config/crd/standard",
        &["gateway.networking.k8s.io_httproutes."],
    ),
];

/// Whether there is a `go` to build them with.
pub(super) fn are_buildable() -> bool {
    go().is_ok()
}

/// The folder with the programs, which are built if they are not there.
pub(super) fn folder(home: &Home) -> anyhow::Result<PathBuf> {
    let folder = home.path("infra/kubernetes").join(VERSION);
    let programs = folder.join("bin");
    if programs.exists() {
        return Ok(programs);
    }
    eprintln!("building {} {VERSION}, once: some minutes", PROGRAMS.join(" and "));
    let begun = Instant::now();
    let work = folder.join("module");
    std::fs::create_dir_all(&work)?;
    std::fs::write(work.join("go.mod"), module(&fetched(&work, MODULE, VERSION)?.go_mod()?)?)?;
    let built = folder.join("built");
    files::remove(&built)?;
    // A folder, so that go puts each program there under its own name.
    std::fs::create_dir_all(&built)?;
    let mut build = go()?;
    build.current_dir(&work).args(["build", "-mod=mod", "-trimpath", "-ldflags"]).arg(flags());
    build.arg("-o").arg(&built);
    build.args(PROGRAMS.map(|program| format!("{MODULE}/cmd/{program}")));
    output(&mut build).context("the control plane cannot be built")?;
    // Renamed whole, so that a folder of this name has every program.
    std::fs::rename(&built, &programs)?;
    println!("chart: the control plane is built after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(programs)
}

/// The definitions of every kind that operators bring, as their operators publish them.
pub(super) fn definitions(home: &Home) -> anyhow::Result<Vec<Value>> {
    let work = home.path("infra/kubernetes");
    std::fs::create_dir_all(&work)?;
    let mut found = Vec::new();
    for (module, version, folder, wanted) in DEFINITIONS {
        let folder = fetched(&work, module, version)?.folder()?.join(folder);
        let entries = std::fs::read_dir(&folder);
        let entries = entries.with_context(|| format!("{} is not there", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if wanted.iter().any(|wanted| name.starts_with(wanted)) {
                found.extend(chart::helm::documents(&std::fs::read_to_string(entry.path())?)?);
            }
        }
    }
    let wanted: usize = DEFINITIONS.iter().map(|(_, _, _, wanted)| wanted.len()).sum();
    ensure!(found.len() == wanted, "of {wanted} definitions {} were found", found.len());
    Ok(found)
}

/// A module as `go mod download` tells of it.
struct Fetched(Value);

impl Fetched {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        Ok(self.0["Dir"].as_str().context("go names no folder")?.into())
    }

    /// What the module requires and replaces.
    fn go_mod(&self) -> anyhow::Result<String> {
        let path = self.0["GoMod"].as_str().context("go names no go.mod")?;
        std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))
    }
}

/// Fetches a module, checked against the checksum database like every other.
fn fetched(work: &Path, module: &str, version: &str) -> anyhow::Result<Fetched> {
    let mut command = go()?;
    command.current_dir(work).args(["mod", "download", "-json", &format!("{module}@{version}")]);
    let said = output(&mut command).with_context(|| format!("{module} cannot be fetched"))?;
    Ok(Fetched(serde_json::from_str(&said)?))
}

/// The `go` of this machine; without C, for nothing here needs it.
fn go() -> anyhow::Result<Command> {
    let unpacked = PathBuf::from(GO);
    let program = find_program("go").or(unpacked.is_file().then_some(unpacked));
    let mend = "unpack https://go.dev/dl (1.26 or newer) to /usr/local, or put go on the path";
    let mut command = Command::new(program.with_context(|| Missing::new("go", mend).to_string())?);
    command.env("CGO_ENABLED", "0").env("GOWORK", "off");
    Ok(command)
}

/// The version as the programs tell it; without it they say that they are v0.0.0, and Helm refuses.
fn flags() -> String {
    let package = "k8s.io/component-base/version";
    let parts: Vec<_> = VERSION.trim_start_matches('v').split('.').collect();
    let (major, minor) = (parts.first().unwrap_or(&""), parts.get(1).unwrap_or(&""));
    format!(
        "-s -w -X {package}.gitVersion={VERSION} -X {package}.gitMajor={major} \
         -X {package}.gitMinor={minor}"
    )
}

/// The module that the programs are built in, made of Kubernetes' own `go.mod`.
fn module(theirs: &str) -> anyhow::Result<String> {
    let published = VERSION.replacen("v1.", "v0.", 1);
    let line = |name: &str| theirs.lines().find(|line| line.starts_with(name));
    let language = line("go ").context("their go.mod states no version of go")?;
    let mut text = format!("module control-plane\n\n{language}\n");
    // What the runtime does for old programs alike.
    if let Some(line) = line("godebug ") {
        writeln!(text, "{line}")?;
    }
    writeln!(text, "\nrequire {MODULE} {VERSION}\n\nreplace (")?;
    let parts: Vec<_> = parts(theirs).collect();
    ensure!(!parts.is_empty(), "their go.mod requires no part of their tree");
    for part in parts {
        writeln!(text, "\t{part} => {part} {published}")?;
    }
    text.push_str(")\n");
    Ok(text)
}

/// The modules that are required without a version, since they lie in the same tree.
fn parts(theirs: &str) -> impl Iterator<Item = &str> {
    theirs.lines().filter_map(|line| {
        let mut words = line.split_whitespace().filter(|word| *word != "require");
        let (name, version) = (words.next()?, words.next()?);
        (name.starts_with("k8s.io/") && version == UNVERSIONED).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "module k8s.io/kubernetes\n\ngo 1.26.0\n\ngodebug default=go1.26\n\n\
        require (\n\tgo.etcd.io/etcd/api/v3 v3.6.5\n\tk8s.io/api v0.0.0\n\tk8s.io/klog/v2 v2.140.0\n\
        \tk8s.io/kube-proxy v0.0.0 // indirect\n)\n\nrequire k8s.io/kubectl v0.0.0\n\n\
        replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n";

    #[test]
    fn every_part_of_their_tree_is_replaced_by_what_was_published_of_it() {
        let published = VERSION.replacen("v1.", "v0.", 1);
        let expected = format!(
            "module control-plane\n\ngo 1.26.0\ngodebug default=go1.26\n\n\
             require k8s.io/kubernetes {VERSION}\n\nreplace (\n\
             \tk8s.io/api => k8s.io/api {published}\n\
             \tk8s.io/kube-proxy => k8s.io/kube-proxy {published}\n\
             \tk8s.io/kubectl => k8s.io/kubectl {published}\n)\n"
        );
        assert_eq!(module(THEIRS).unwrap(), expected);
    }

    #[test]
    fn a_tree_without_parts_is_not_taken_for_theirs() {
        assert!(module("module m\n\ngo 1.26.0\n").is_err());
        assert!(module("module m\n\nrequire k8s.io/api v0.0.0\n").is_err());
    }

    #[test]
    fn the_version_is_the_newest_that_the_chart_is_rendered_for() {
        let minor = |version: &str| version.split('.').nth(1).map(str::to_owned);
        assert_eq!(minor(VERSION), minor(chart::NEWEST));
        assert!(flags().ends_with(&format!("gitMinor={}", minor(VERSION).unwrap())));
    }
}
