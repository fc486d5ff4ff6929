//! Programs and libraries that come as packages of npm, in the versions of a lock file in the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::infra::{Missing, find_program, output};
use crate::workspace;

/// Lays a folder of the repository, which has a `package-lock.json`, at `work` below the target folder,
/// beside the packages it asks for. Returns npm.
pub(crate) fn install(folder: &str, work: &Path) -> anyhow::Result<PathBuf> {
    let npm = find_program("npm").with_context(|| {
        Missing::package("npm (with Node.js 20 or newer)", "nodejs npm").to_string()
    })?;
    let from = workspace::root().join(folder);
    std::fs::create_dir_all(work)?;
    for entry in std::fs::read_dir(&from)? {
        let path = entry?.path();
        std::fs::copy(&path, work.join(path.file_name().context("a file without a name")?))?;
    }
    let wanted = std::fs::read(from.join("package-lock.json"))?;
    // Written at the end, so that packages of an interrupted run are installed again.
    let done = work.join("installed-lock.json");
    if std::fs::read(&done).ok().as_ref() != Some(&wanted) {
        eprintln!("installing the packages of {folder} to {}", work.display());
        // No package runs a program of its own to be installed.
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        output(Command::new(&npm).current_dir(work).args(install))?;
        std::fs::write(&done, wanted)?;
    }
    ensure!(work.join("node_modules").is_dir(), "npm has installed nothing in {}", work.display());
    Ok(npm)
}
