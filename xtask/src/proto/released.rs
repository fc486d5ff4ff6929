//! The contracts that releases left behind, one file a version.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use prost_reflect::DescriptorPool;

use super::set;

/// Where they are, below the root.
pub(super) const FOLDER: &str = "proto/released";
pub(super) const EXTENSION: &str = "binpb";
/// Has a heading for each version that is released.
const CHANGELOG: &str = "CHANGELOG.md";

/// `major.minor.patch`, in the order of releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version([u32; 3]);

impl FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let numbers = text.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok();
        let numbers = numbers.and_then(|numbers| <[u32; 3]>::try_from(numbers).ok());
        numbers.map(Self).with_context(|| format!("`{text}` is no version such as 1.2.3"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

/// The workspace's version.
pub(super) fn current(root: &Path) -> anyhow::Result<Version> {
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string(root.join("Cargo.toml"))?)?;
    let package = manifest.get("workspace").and_then(|workspace| workspace.get("package"));
    let version = package.and_then(|package| package.get("version")?.as_str());
    version.context("Cargo.toml states no version in [workspace.package]")?.parse()
}

/// Versions whose contracts are kept, oldest first.
pub(super) fn versions(root: &Path) -> anyhow::Result<Vec<Version>> {
    let folder = root.join(FOLDER);
    let mut versions = Vec::new();
    if !folder.exists() {
        return Ok(versions);
    }
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let version = stem.parse().with_context(|| format!("rename {}", path.display()))?;
            versions.push(version);
        }
    }
    versions.sort();
    Ok(versions)
}

/// The file that keeps the contracts of a version.
pub(super) fn path(root: &Path, version: Version) -> PathBuf {
    root.join(FOLDER).join(format!("{version}.{EXTENSION}"))
}

/// The contracts of a version.
pub(super) fn read(root: &Path, version: Version) -> anyhow::Result<DescriptorPool> {
    let path = path(root, version);
    let bytes =
        std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    set::read(&bytes).with_context(|| format!("{} is damaged", path.display()))
}

/// Whether the changelog has no heading for a version yet.
pub(super) fn is_unreleased(root: &Path, version: Version) -> anyhow::Result<bool> {
    let text = std::fs::read_to_string(root.join(CHANGELOG))
        .with_context(|| format!("{CHANGELOG} cannot be read; it says what is released"))?;
    let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    let mut titles = headings.filter_map(|heading| heading.split_whitespace().next());
    let version = version.to_string();
    Ok(!titles.any(|title| title.trim_matches(['[', ']']) == version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_follow_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(FOLDER)).unwrap();
        assert_eq!(versions(folder.path()).unwrap(), []);
        for name in ["0.10.0.binpb", "0.9.1.binpb", "README.md"] {
            std::fs::write(folder.path().join(FOLDER).join(name), "").unwrap();
        }
        let found: Vec<_> =
            versions(folder.path()).unwrap().iter().map(Version::to_string).collect();
        assert_eq!(found, ["0.9.1", "0.10.0"]);
        std::fs::write(folder.path().join(FOLDER).join("latest.binpb"), "").unwrap();
        assert!(versions(folder.path()).is_err());
    }
}
