//! Programs of other packages: where they lie, what version they are, how one gets them.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Where servers lie that are not on the path of an ordinary user.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// A program that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The program, or the folder of its parts.
    pub(crate) path: PathBuf,
    /// Its version, as it says itself.
    pub(crate) version: String,
}

/// What is not there, and how one gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    what: String,
    mend: String,
}

impl Missing {
    /// Something that `apt-get` installs.
    pub(crate) fn package(what: &str, packages: &str) -> Self {
        Self::new(what, &format!("sudo apt-get install --yes --no-install-recommends {packages}"))
    }

    /// Something that is got in another way.
    pub(crate) fn new(what: &str, mend: &str) -> Self {
        Self { what: what.to_owned(), mend: mend.to_owned() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is not installed\nmend: {}", self.what, self.mend)
    }
}

impl Program {
    /// A program on the path.
    pub(crate) fn on_path(name: &str, version_argument: &str) -> Option<Self> {
        Self::at(find(name)?, version_argument).ok()
    }

    /// The program of a file, which says its version when asked with this argument.
    pub(crate) fn at(path: PathBuf, version_argument: &str) -> anyhow::Result<Self> {
        let said = output(Command::new(&path).arg(version_argument))?;
        let version = version_in(&said)
            .with_context(|| format!("{} does not say its version", path.display()))?;
        Ok(Self { path, version })
    }

    /// The number before the first point of the version.
    pub(crate) fn major(&self) -> u32 {
        number(self.version.split('.').next())
    }

    /// The number after it.
    pub(crate) fn minor(&self) -> u32 {
        number(self.version.split('.').nth(1))
    }
}

/// A program of this name on the path, or where the system keeps its servers.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// Whether a file can be run.
pub(crate) fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end and returns what it wrote; an error has the last of it.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    output_of_input(command, "")
}

/// As [`output`], with something to read: what should not show in the list of processes.
pub(crate) fn output_of_input(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be run"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read to the end says by its status whether that matters.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    bail!("{name} failed ({}):\n{}", output.status, last_lines(&format!("{said}{errors}"), 20))
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let lines = &lines[lines.len().saturating_sub(count)..];
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// The first word that is a version: `15.4`, `v1.8.7`, `v=7.0.15`.
fn version_in(said: &str) -> Option<String> {
    said.split_whitespace()
        .map(|word| word.trim_start_matches(['v', '=', '"']).trim_end_matches('"'))
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()) && word.contains('.'))
        .map(str::to_owned)
}

fn number(text: Option<&str>) -> u32 {
    let digits: String =
        text.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_servers_say() {
        for (said, expected) in [
            ("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", "15.13"),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", "7.0.15"),
            ("etcd Version: 3.4.23\nGit SHA: none", "3.4.23"),
            ("Consul v1.8.7\nProtocol 2 spoken by default", "1.8.7"),
            ("openjdk version \"17.0.15\" 2025-04-15", "17.0.15"),
        ] {
            assert_eq!(version_in(said).as_deref(), Some(expected), "{said}");
        }
        assert_eq!(version_in("no version here"), None);
    }

    #[test]
    fn versions_have_parts() {
        let program = Program { path: PathBuf::new(), version: "1.18.0+ent".to_owned() };
        assert_eq!((program.major(), program.minor()), (1, 18));
    }

    #[test]
    fn a_program_that_fails_shows_its_last_words() {
        let failed = output(Command::new("sh").args(["-c", "echo begun; echo broken >&2; exit 3"]));
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("begun") && error.contains("broken"), "{error}");
    }
}
