//! The programs of the version before: its tree in a worktree of its own, built beside ours.
//!
//! Dependencies that both versions have alike are not compiled again: they are taken from our own
//! build, and cargo's fingerprints decide what fits.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::alike;
use super::revision::{Revision, git};
use crate::infra::output;
use crate::mesh::SERVICES;
use crate::{files, workspace};

/// Where cargo keeps what it has compiled, below the folder of a profile. The compiler replaces its
/// files, which can so be shared; what cargo and build scripts write, they write in place.
const LINKED: &str = "deps";
const COPIED: [&str; 2] = ["build", ".fingerprint"];

/// The folder with the programs of a version, which are built if they are not there.
pub(super) fn of(revision: &Revision, folder: &Path) -> anyhow::Result<PathBuf> {
    let folder = folder.join(revision.short());
    let binaries = folder.join("bin");
    if binaries.exists() {
        println!("upgrade: the programs of {} are there already", revision.name);
        return Ok(binaries);
    }
    let begun = Instant::now();
    let (tree, target) = (folder.join("tree"), folder.join("target"));
    check_out(revision, &tree)?;
    // Begun anew, for whatever an interrupted build has left.
    files::remove(&target)?;
    let profile = target.join("debug");
    seed(&workspace::binary_folder(false), &profile)?;
    let is_alike = alike::make(&tree)?;
    build(&tree, &target, is_alike)?;
    keep(&profile, &binaries)?;
    println!(
        "upgrade: the programs of {} are built after {:.0} s, {}",
        revision.name,
        begun.elapsed().as_secs_f64(),
        if is_alike { "with the dependencies of n" } else { "with other dependencies than n" }
    );
    // All else is of no more use.
    git(&workspace::root(), &["worktree", "remove", "--force", &tree.to_string_lossy()])?;
    files::remove(&target)?;
    Ok(binaries)
}

/// Checks the version out as a worktree of this repository.
fn check_out(revision: &Revision, tree: &Path) -> anyhow::Result<()> {
    files::remove(tree)?;
    let path = tree.to_string_lossy();
    // By force, for one that was removed by hand is still known to git.
    let add = ["worktree", "add", "--quiet", "--detach", "--force", &path, &revision.commit];
    git(&workspace::root(), &add).map(drop)
}

/// Moves the programs to where they are kept, all at once.
fn keep(from: &Path, to: &Path) -> anyhow::Result<()> {
    let beside = to.with_extension("new");
    files::remove(&beside)?;
    std::fs::create_dir_all(&beside)?;
    for service in &SERVICES {
        let (from, to) = (from.join(service.binary), beside.join(service.binary));
        std::fs::rename(&from, to).with_context(|| format!("{} was not built", from.display()))?;
    }
    Ok(std::fs::rename(beside, to)?)
}

/// Takes what our own build has of other people's crates.
fn seed(from: &Path, to: &Path) -> anyhow::Result<()> {
    let own = own_crates()?;
    let copy = |from: &Path, to: &Path| {
        std::fs::copy(from, to)?;
        // By their times cargo sees whether what they are of has changed.
        File::open(to)?.set_modified(from.metadata()?.modified()?)
    };
    take(&from.join(LINKED), &to.join(LINKED), &own, &|from, to| {
        std::fs::hard_link(from, to).or_else(|_| copy(from, to))
    })?;
    COPIED.iter().try_for_each(|name| take(&from.join(name), &to.join(name), &own, &copy).map(drop))
}

/// The crates of the workspace, as their files are called.
fn own_crates() -> anyhow::Result<HashSet<String>> {
    let said = output(workspace::cargo().args([
        "metadata",
        "--no-deps",
        "--format-version=1",
        "--locked",
    ]))?;
    let metadata: Value = serde_json::from_str(&said)?;
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    // Examples and tests lie elsewhere, and may be called like somebody's crate.
    let is_crate = |target: &&Value| {
        let kinds = target["kind"].as_array();
        kinds.into_iter().flatten().any(|kind| kind == "lib" || kind == "bin")
    };
    let targets = packages.iter().flat_map(|package| package["targets"].as_array()).flatten();
    let named = packages.iter().chain(targets.filter(is_crate));
    let named = named.filter_map(|it| it["name"].as_str());
    Ok(named.map(|name| name.replace('-', "_")).collect())
}

/// Does with every file of a folder what `each` does, but for those of the workspace's own crates.
fn take(
    from: &Path,
    to: &Path,
    own: &HashSet<String>,
    each: &dyn Fn(&Path, &Path) -> std::io::Result<()>,
) -> anyhow::Result<usize> {
    std::fs::create_dir_all(to)?;
    // A build that cleaned up has nothing to share.
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(0) };
    let mut taken = 0;
    for entry in entries {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if own.contains(crate_of(&name.to_string_lossy()).as_str()) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if kind.is_dir() {
            // Within the folder of a crate everything is the crate's.
            taken += take(&from, &to, &HashSet::new(), each)?;
        } else if kind.is_file() {
            each(&from, &to).with_context(|| format!("{} cannot be shared", from.display()))?;
            taken += 1;
        }
    }
    Ok(taken)
}

/// `libauth_svc-0123456789abcdef.rlib` is of `auth_svc`.
fn crate_of(file: &str) -> String {
    let stem = file.split('.').next().unwrap_or(file);
    let name = stem.rsplit_once('-').map_or(stem, |(name, _)| name).replace('-', "_");
    // Files of libraries begin with `lib`; but so do the names of crates such as libc.
    let is_library = file.contains(".rlib") || file.contains(".rmeta") || file.contains(".so");
    match name.strip_prefix("lib") {
        Some(rest) if is_library => rest.to_owned(),
        _ => name,
    }
}

/// All programs at once, with the features that the workspace gives them.
fn build(tree: &Path, target: &Path, is_alike: bool) -> anyhow::Result<()> {
    let mut command = workspace::cargo();
    command.current_dir(tree);
    command.args(["build", "--workspace", "--target-dir"]).arg(target);
    command.args(SERVICES.iter().flat_map(|service| ["--bin", service.binary]));
    // Our lock file has no entries for members that are not ours; it has all the others.
    command.arg(if is_alike { "--offline" } else { "--locked" });
    let status = command.status().context("cargo cannot be started")?;
    ensure!(
        status.success(),
        "the version before cannot be built ({status})\nmend: state one that can: cargo xtask \
         upgrade --from REV"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_crates() {
        for (file, expected) in [
            ("libauth_svc-0123456789abcdef.rlib", "auth_svc"),
            ("auth-svc-0123456789abcdef", "auth_svc"),
            ("libc-0123456789abcdef.d", "libc"),
            ("liblibc-0123456789abcdef.rmeta", "libc"),
            ("mainstay_gateway-0123.mainstay_gateway.0a-cgu.00.rcgu.o", "mainstay_gateway"),
        ] {
            assert_eq!(crate_of(file), expected, "{file}");
        }
    }

    #[test]
    fn only_what_others_wrote_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(from.join("serde-1")).unwrap();
        std::fs::create_dir_all(from.join("auth-svc-1")).unwrap();
        for file in ["serde-1/output", "auth-svc-1/output", "libserde-1.rlib", "libauth_svc-1.rlib"]
        {
            std::fs::write(from.join(file), file).unwrap();
        }
        let own = HashSet::from(["auth_svc".to_owned()]);
        let taken = take(&from, &to, &own, &|from, to| std::fs::hard_link(from, to)).unwrap();
        assert_eq!(taken, 2);
        assert!(to.join("serde-1/output").is_file() && !to.join("libauth_svc-1.rlib").exists());
    }
}
