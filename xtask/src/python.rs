//! Programs that come as Python packages, each in an environment of its own below the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::infra::{Missing, find_program, output, output_of_input};

/// The folder of programs of an environment with this package (`name==version`), installed there if it
/// is not yet.
pub(crate) fn with_package(folder: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let programs = folder.join("bin");
    // Named after what is in it, so that another version makes another one.
    let done = folder.join(package);
    if done.exists() {
        return Ok(programs);
    }
    let system = find_program("python3")
        .with_context(|| Missing::package("python3", "python3 python3-venv").to_string())?;
    eprintln!("installing {package} to {}", folder.display());
    output(Command::new(system).args(["-m", "venv"]).arg(folder))
        .with_context(|| Missing::package("python3-venv", "python3-venv").to_string())?;
    let pip = ["-m", "pip", "install", "--quiet", package];
    output(Command::new(programs.join("python")).args(pip))?;
    std::fs::write(done, "")?;
    Ok(programs)
}

/// The lines that a script prints about its standard input, in an environment with this package.
pub(crate) fn lines(
    folder: &Path,
    package: &str,
    script: &str,
    input: &str,
) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new(with_package(folder, package)?.join("python"));
    let said = output_of_input(command.args(["-c", script]), input)?;
    Ok(said.lines().map(str::to_owned).collect())
}
