//! Dependencies compiled for this version, used for the version before.
//!
//! What cargo compiles of a dependency depends on the profile, and on the features that somebody in
//! the workspace asks for. Where the version before locks no other version of anything, it gets our
//! lock file, our profile, our features and, in a member without code, our dependencies: then nothing
//! but its own crates has to be compiled. Its code stays what it was; features only add.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use toml::{Table, Value};

use crate::files::{self, Access};
use crate::workspace;

/// The member that brings our dependencies.
const MEMBER: &str = "dependencies-of-n";

/// Tables of a manifest that decide what a program is built from.
const TABLES: [&str; 2] = ["dependencies", "build-dependencies"];

/// Makes the dependencies of a tree those of this version, if it locks no others; says whether.
pub(super) fn make(tree: &Path) -> anyhow::Result<bool> {
    let root = workspace::root();
    let (ours, theirs) = (read(&root, "Cargo.lock")?, read(tree, "Cargo.lock")?);
    if !locked(&theirs).is_subset(&locked(&ours)) {
        return Ok(false);
    }
    let (ours, mut theirs) = (read(&root, "Cargo.toml")?, read(tree, "Cargo.toml")?);
    let members = ours["workspace"]["members"].as_array().context("no members")?;
    let members = members.iter().filter_map(Value::as_str);
    let manifests: Vec<Table> = members
        .map(|member| read(&root.join(member), "Cargo.toml"))
        .collect::<anyhow::Result<_>>()?;
    adapt(&mut theirs, &ours).context("the manifest of the version before is not understood")?;
    write(&tree.join("Cargo.toml"), &toml::to_string(&theirs)?)?;
    std::fs::create_dir_all(tree.join(MEMBER))?;
    write(&tree.join(MEMBER).join("Cargo.toml"), &toml::to_string(&member(&manifests))?)?;
    write(&tree.join(MEMBER).join("lib.rs"), "")?;
    std::fs::copy(root.join("Cargo.lock"), tree.join("Cargo.lock"))?;
    Ok(true)
}

/// Everything that a lock file takes from a registry.
fn locked(lock: &Table) -> BTreeSet<(String, String)> {
    let packages = lock.get("package").and_then(Value::as_array).into_iter().flatten();
    let text = |package: &Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    packages
        .filter(|package| package.get("source").is_some())
        .filter_map(|package| Some((text(package, "name")?, text(package, "version")?)))
        .collect()
}

/// Gives a workspace one more member and our profile, and has its dependencies say what ours do beside
/// what its own do. Nobody debugs its crates, so they carry no debug information.
fn adapt(theirs: &mut Table, ours: &Table) -> Option<()> {
    let mut profile = ours.get("profile")?.as_table()?.clone();
    let dev = profile.get_mut("dev")?.as_table_mut()?;
    dev.extend([("debug".to_owned(), false.into()), ("incremental".to_owned(), false.into())]);
    theirs.insert("profile".to_owned(), profile.into());
    let ours = ours.get("workspace")?.get("dependencies")?.as_table()?;
    let workspace = theirs.get_mut("workspace")?.as_table_mut()?;
    for list in ["members", "default-members"] {
        if let Some(members) = workspace.get_mut(list).and_then(Value::as_array_mut) {
            members.push(MEMBER.into());
        }
    }
    let theirs = workspace.get_mut("dependencies")?.as_table_mut()?;
    for (name, specification) in ours.iter().filter(|(_, it)| it.get("path").is_none()) {
        let mut merged = specification.clone();
        if let Some(features) = theirs.get(name).and_then(|it| it.get("features")?.as_array())
            && let Some(merged) = merged.as_table_mut()
        {
            let all = merged.entry("features").or_insert_with(|| Value::Array(Vec::new()));
            all.as_array_mut()?.extend(features.iter().cloned());
        }
        theirs.insert(name.clone(), merged);
    }
    Some(())
}

/// A member without code that depends on whatever any of ours does.
fn member(manifests: &[Table]) -> Table {
    let mut member = toml::toml! {
        [package]
        name = "dependencies-of-n"
        version = "0.0.0"
        edition = "2024"
        publish = false
        [lib]
        path = "lib.rs"
    };
    for name in TABLES {
        let tables = manifests.iter().filter_map(|manifest| manifest.get(name)?.as_table());
        let mut all = Table::new();
        for (dependency, specification) in tables.flatten() {
            // Our own crates are not dependencies; theirs have the same names.
            if dependency.starts_with("mainstay") {
                continue;
            }
            let features = specification.get("features").and_then(Value::as_array);
            let entry = all.entry(dependency).or_insert_with(|| specification.clone());
            if let (Some(features), Some(entry)) = (features, entry.as_table_mut()) {
                entry.insert("features".to_owned(), features.clone().into());
            }
        }
        member.insert(name.to_owned(), all.into());
    }
    member
}

fn read(folder: &Path, name: &str) -> anyhow::Result<Table> {
    let file = folder.join(name);
    let text = std::fs::read_to_string(&file);
    let text = text.with_context(|| format!("{} cannot be read", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is no TOML", file.display()))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    files::write(file, text.as_bytes(), Access::Everybody)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_both_lock_can_be_shared() {
        let lock = toml::toml! {
            [[package]]
            name = "mainstay"
            version = "0.1.0"
            [[package]]
            name = "uuid"
            version = "1.2.3"
            source = "registry"
        };
        let expected = BTreeSet::from([("uuid".to_owned(), "1.2.3".to_owned())]);
        assert_eq!(locked(&lock), expected);
    }

    #[test]
    fn features_of_both_are_asked_for_and_own_crates_stay() {
        let mut theirs = toml::toml! {
            [workspace]
            members = ["."]
            [workspace.dependencies]
            mainstay = { path = "." }
            uuid = { version = "1", features = ["v4"] }
            [profile.dev.package.uuid]
            opt-level = 3
        };
        let ours = toml::toml! {
            [workspace.dependencies]
            mainstay = { path = "elsewhere" }
            uuid = { version = "1", features = ["v7"] }
            zstd = "0.14"
            [profile.dev.package."*"]
            opt-level = 1
        };
        adapt(&mut theirs, &ours).unwrap();
        let workspace = &theirs["workspace"];
        assert_eq!(workspace["members"], Value::from(vec![".", MEMBER]));
        assert_eq!(workspace["dependencies"]["mainstay"]["path"].as_str(), Some("."));
        let features = workspace["dependencies"]["uuid"]["features"].clone();
        assert_eq!(features, Value::from(vec!["v7", "v4"]));
        assert_eq!(workspace["dependencies"]["zstd"].as_str(), Some("0.14"));
        let dev = &theirs["profile"]["dev"];
        assert_eq!(dev["package"]["*"]["opt-level"].as_integer(), Some(1));
        assert_eq!((dev["debug"].as_bool(), dev["package"].get("uuid")), (Some(false), None));
    }

    #[test]
    fn the_member_depends_on_what_any_of_ours_does() {
        let one = toml::toml! {
            [dependencies]
            mainstay.workspace = true
            clap.workspace = true
        };
        let other = toml::toml! {
            [dependencies]
            clap = { workspace = true, features = ["env"] }
            [build-dependencies]
            protox.workspace = true
        };
        let member = member(&[one, other]);
        assert!(member["dependencies"].get("mainstay").is_none());
        assert_eq!(member["dependencies"]["clap"]["features"][0].as_str(), Some("env"));
        assert!(member["build-dependencies"].get("protox").is_some());
    }
}
