//! Which version is N-1: the newest release before this one, by its tag.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::infra::output;

/// How tags of releases begin.
const RELEASES: &str = "v[0-9]*";

/// N-1 while there is no release: the oldest commit that can be rolled to this one, so that the two
/// differ as much as they may. Gateways before it stand before one upstream alone, or refuse every
/// route of a service whose contract has a stream.
const UNRELEASED: &str = "6adecb42484a901c8022529f2de9afa1fbe3a2d9";

/// The version before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    /// The commit.
    pub(crate) commit: String,
    /// What a person calls it: a tag, or the beginning of the commit.
    pub(crate) name: String,
}

/// The one that is stated, else the newest release that is an ancestor, else the pinned one.
pub(super) fn find(root: &Path, stated: Option<&str>) -> anyhow::Result<Revision> {
    match stated {
        Some(stated) => resolve(root, stated),
        None => newest_release(root, UNRELEASED),
    }
}

/// The newest release before this version, else, while there is none, another commit.
pub(crate) fn newest_release(root: &Path, unreleased: &str) -> anyhow::Result<Revision> {
    let head = git(root, &["rev-parse", "HEAD"])?;
    // Newest first; the release that stands here is N itself.
    let tags =
        git(root, &["tag", "--list", RELEASES, "--merged", "HEAD", "--sort=-version:refname"])?;
    for tag in tags.lines() {
        let found = resolve(root, tag)?;
        if found.commit != head.trim() {
            return Ok(found);
        }
    }
    resolve(root, unreleased)
}

fn resolve(root: &Path, name: &str) -> anyhow::Result<Revision> {
    let wanted = format!("{name}^{{commit}}");
    let Ok(commit) = git(root, &["rev-parse", "--verify", "--quiet", &wanted]) else {
        bail!(missing(name, is_shallow(root)));
    };
    let commit = commit.trim().to_owned();
    let is_hash = name.chars().all(|letter| letter.is_ascii_hexdigit());
    let name = if is_hash { short(&commit).to_owned() } else { name.to_owned() };
    Ok(Revision { commit, name })
}

fn missing(name: &str, is_shallow: bool) -> String {
    let mend = match is_shallow {
        true => "this clone is shallow: git fetch --unshallow --tags",
        false => "git fetch --tags, or state another revision: cargo xtask upgrade --from REV",
    };
    format!("the version before, {name}, is not in this repository\nmend: {mend}")
}

impl Revision {
    /// As folders are called.
    pub(super) fn short(&self) -> &str {
        short(&self.commit)
    }
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

fn is_shallow(root: &Path) -> bool {
    git(root, &["rev-parse", "--is-shallow-repository"]).is_ok_and(|said| said.trim() == "true")
}

/// What git says.
pub(crate) fn git(folder: &Path, args: &[&str]) -> anyhow::Result<String> {
    output(Command::new("git").arg("-C").arg(folder).args(args))
        .with_context(|| format!("git {}", args.join(" ")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A repository with three commits, of which the first and the last are releases.
    pub(crate) fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| git(folder.path(), args).unwrap();
        run(&["init", "--quiet"]);
        run(&["config", "user.email", "story@example.com"]);
        run(&["config", "user.name", "A story"]);
        for tag in ["v0.9.0", "something", "v0.10.0"] {
            run(&["commit", "--quiet", "--allow-empty", "--message", tag]);
            run(&["tag", tag]);
        }
        folder
    }

    #[test]
    fn the_newest_release_before_this_one_counts() {
        let folder = repository();
        assert_eq!(find(folder.path(), None).unwrap().name, "v0.9.0");
        git(folder.path(), &["commit", "--quiet", "--allow-empty", "--message", "after"]).unwrap();
        assert_eq!(find(folder.path(), None).unwrap().name, "v0.10.0");
    }

    #[test]
    fn a_stated_revision_goes_before_all() {
        let folder = repository();
        let head = git(folder.path(), &["rev-parse", "something"]).unwrap();
        let found = find(folder.path(), Some(&head[..12])).unwrap();
        assert_eq!((found.commit.as_str(), found.name.len()), (head.trim(), 10));
    }

    #[test]
    fn a_revision_that_is_not_there_names_the_mend() {
        let folder = repository();
        git(folder.path(), &["tag", "--delete", "v0.9.0", "v0.10.0"]).unwrap();
        let refused = find(folder.path(), None).unwrap_err().to_string();
        assert!(refused.contains("mend: git fetch --tags"), "{refused}");
        assert!(missing("v1", true).contains("git fetch --unshallow"));
    }
}
