//! `proto`: contracts keep what a release promised.
//!
//! A release leaves the descriptor set of its contracts in `proto/released/<version>.binpb`. What was
//! written against it, as bytes or as JSON, must be understood by today's contracts: clients, stored
//! events and other replicas do not change with them. `check` compares the two and names each break with
//! its mend, and reads a sample of each released event; docs/contracts-evolution.md says the same in prose.

mod breaks;
mod golden;
mod released;
mod set;
mod stated;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use prost_reflect::DescriptorPool;

use crate::workspace;
use breaks::Break;
use released::Version;
pub(crate) use stated::{callers, rate_classes};

/// Where the contracts are, below the root.
const CONTRACTS: &str = "proto";

/// What to do with the contracts.
#[derive(Debug, Args)]
pub(crate) struct ProtoArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Compare the contracts with those of the newest release; fail at each break.
    Check,
    /// Keep the contracts as those of the workspace's version.
    Release {
        /// Overwrite the kept contracts of this version, as long as it is unreleased.
        #[arg(long)]
        force: bool,
    },
}

/// Does what is asked.
pub(crate) fn run(args: &ProtoArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Check => check()?,
        Action::Release { force } => release(&workspace::root(), force)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails when today's contracts break those of the newest release, or do not understand an event of any.
pub(crate) fn check() -> anyhow::Result<()> {
    let root = workspace::root();
    let today = set::read(&set::compile(&root.join(CONTRACTS))?)?;
    let versions = released::versions(&root)?;
    let newest = *versions
        .last()
        .with_context(|| format!("{} is empty: cargo xtask proto release", released::FOLDER))?;
    compare(&root, newest, &today)?;
    for version in versions {
        golden::check(&root, version, &released::read(&root, version)?, &today)?;
    }
    println!("proto: the contracts break nothing of {newest}");
    Ok(())
}

fn release(root: &Path, force: bool) -> anyhow::Result<()> {
    let version = released::current(root)?;
    let path = released::path(root, version);
    if path.exists() {
        ensure!(
            released::is_unreleased(root, version)?,
            "{version} is released, its contracts stay: raise the version in Cargo.toml first"
        );
        ensure!(
            force,
            "{} is there already; --force overwrites it, for {version} is not released yet",
            path.display()
        );
    }
    let today = set::compile(&root.join(CONTRACTS))?;
    let earlier = released::versions(root)?.into_iter().rfind(|earlier| *earlier < version);
    if let Some(earlier) = earlier {
        compare(root, earlier, &set::read(&today)?)?;
    }
    std::fs::create_dir_all(root.join(released::FOLDER))?;
    std::fs::write(&path, &today)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    golden::write(root, version, &set::read(&today)?)?;
    println!("proto: {} keeps the contracts of {version}", path.display());
    Ok(())
}

fn compare(root: &Path, version: Version, today: &DescriptorPool) -> anyhow::Result<()> {
    let breaks = breaks::find(&released::read(root, version)?, today);
    if breaks.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = breaks.iter().map(Break::to_string).collect();
    let unreleased = version == released::current(root)? && released::is_unreleased(root, version)?;
    let way_out = if unreleased {
        ", which is not released yet: cargo xtask proto release --force keeps them as they are now"
    } else {
        ""
    };
    let (list, count) = (list.join("\n"), breaks.len());
    bail!("{list}\nthe contracts break {count} promise(s) of {version}{way_out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_break_no_release() {
        check().unwrap();
    }

    /// A repository with one contract, whose version is 0.2.0.
    fn repository(changelog: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join("Cargo.toml"), "[workspace.package]\nversion = \"0.2.0\"\n")
            .unwrap();
        std::fs::write(root.join("CHANGELOG.md"), changelog).unwrap();
        contract(root, "message Order { string id = 1; }");
        folder
    }

    fn contract(root: &Path, body: &str) {
        let folder = root.join("proto/mainstay/shop/v1");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("syntax = \"proto3\";\npackage mainstay.shop.v1;\n{body}\n");
        std::fs::write(folder.join("shop.proto"), text).unwrap();
    }

    #[test]
    fn only_an_unreleased_version_is_kept_anew_and_only_by_force() {
        let folder = repository("## Unreleased\n\n## 0.1.0\n");
        let root = folder.path();
        release(root, false).unwrap();
        contract(root, "message Order { string number = 1; }");
        assert!(release(root, false).unwrap_err().to_string().contains("--force"));
        release(root, true).unwrap();
        std::fs::write(root.join("CHANGELOG.md"), "## [0.2.0] - 2026-11-21\n").unwrap();
        let error = release(root, true).unwrap_err().to_string();
        assert!(error.contains("0.2.0 is released"), "{error}");
    }

    #[test]
    fn a_release_keeps_the_promises_of_the_one_before() {
        let folder = repository("## Unreleased\n");
        let root = folder.path();
        let today = set::compile(&root.join(CONTRACTS)).unwrap();
        std::fs::create_dir_all(root.join(released::FOLDER)).unwrap();
        std::fs::write(root.join("proto/released/0.1.0.binpb"), today).unwrap();
        contract(root, "message Order { string number = 1; }");
        let error = release(root, true).unwrap_err().to_string();
        assert!(error.contains("1 promise(s) of 0.1.0"), "{error}");
        contract(root, "message Order { string id = 1; string number = 2; }");
        release(root, false).unwrap();
    }
}
