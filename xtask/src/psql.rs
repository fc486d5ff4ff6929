//! Statements run by `psql`: administration needs no driver of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::infra::{Missing, find_program, output, output_of_input};

/// Where Debian keeps the programs of PostgreSQL.
const PACKAGES: &str = "/usr/lib/postgresql";

/// A database that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Psql {
    program: PathBuf,
    /// The URL without its password, which would show in the list of processes.
    url: String,
    password: String,
}

impl Psql {
    /// The program, if it is there.
    pub(crate) fn find() -> Option<PathBuf> {
        find_program("psql").or_else(|| {
            let versions = std::fs::read_dir(PACKAGES).ok()?.flatten();
            versions.map(|version| version.path().join("bin/psql")).find(|file| file.is_file())
        })
    }

    /// The database of a URL such as `postgres://user:password@host:port/database`.
    pub(crate) fn open(url: &str) -> anyhow::Result<Self> {
        let Some(program) = Self::find() else {
            bail!(Missing::package("psql, PostgreSQL's client,", "postgresql-client").to_string());
        };
        let (url, password) = without_password(url)?;
        Ok(Self { program, url, password })
    }

    /// Runs statements, and returns the rows, fields separated by `|`.
    pub(crate) fn run(&self, statements: &str) -> anyhow::Result<String> {
        output(self.command().args(["--command", statements]))
    }

    /// Runs a file with variables, as `:'name'` or `:"name"` in it. They go by standard input, for
    /// some are passwords.
    pub(crate) fn run_file(
        &self,
        file: &Path,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let mut script = String::new();
        for (name, value) in variables {
            writeln!(script, "\\set {name} {}", quoted(value))?;
        }
        writeln!(script, "\\include {}", quoted(&file.to_string_lossy()))?;
        output_of_input(self.command().args(["--file", "-"]), &script)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            // The caller's own PGHOST and the like must not send us elsewhere.
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(&name);
            }
        }
        command
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "5")
            .args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--dbname", &self.url]);
        command
    }
}

/// The URL of another database on the same server.
pub(crate) fn with_database(url: &str, database: &str) -> anyhow::Result<String> {
    let parts = Parts::of(url)?;
    Ok(Parts { database, ..parts }.join(parts.login))
}

/// The URL of another user and database on the same server; parameters are kept.
pub(crate) fn url_of(
    admin: &str,
    user: &str,
    password: &str,
    database: &str,
) -> anyhow::Result<String> {
    let parts = Parts::of(admin)?;
    Ok(Parts { database, ..parts }.join(&format!("{user}:{password}")))
}

/// `scheme://login@host/database?parameters`.
#[derive(Clone, Copy)]
struct Parts<'a> {
    scheme: &'a str,
    login: &'a str,
    host: &'a str,
    database: &'a str,
    parameters: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> anyhow::Result<Self> {
        let (scheme, rest) = url.split_once("://").context("a PostgreSQL address is no URL")?;
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) = place.rsplit_once('@').unwrap_or(("", place));
        let (host, database) = place.split_once('/').unwrap_or((place, ""));
        Ok(Self { scheme, login, host, database, parameters })
    }

    fn join(&self, login: &str) -> String {
        let Self { scheme, host, database, parameters, .. } = self;
        let at = if login.is_empty() { "" } else { "@" };
        let question = if parameters.is_empty() { "" } else { "?" };
        format!("{scheme}://{login}{at}{host}/{database}{question}{parameters}")
    }
}

/// As one word of psql's own commands.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

/// Takes the password out of a URL.
fn without_password(url: &str) -> anyhow::Result<(String, String)> {
    let parts = Parts::of(url)?;
    let (user, password) = parts.login.split_once(':').unwrap_or((parts.login, ""));
    Ok((parts.join(user), percent_decoded(password)?))
}

fn percent_decoded(text: &str) -> anyhow::Result<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.context("the password in a PostgreSQL URL is not percent-encoded")?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).context("the password in a PostgreSQL URL is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_lives_on_the_same_server() {
        let of = |admin| url_of(admin, "mainstay_auth", "pw", "mainstay").unwrap();
        assert_eq!(
            of("postgres://a:b@db:5432/postgres"),
            "postgres://mainstay_auth:pw@db:5432/mainstay"
        );
        assert_eq!(
            of("postgres://db?sslmode=require"),
            "postgres://mainstay_auth:pw@db/mainstay?sslmode=require"
        );
    }

    #[test]
    fn a_value_is_one_word_of_psql() {
        assert_eq!(quoted(r"it's \here"), r"'it''s \\here'");
    }

    #[test]
    fn the_password_leaves_the_url() {
        let (url, password) = without_password("postgres://a:p%40ss%3a@db:5432/b").unwrap();
        assert_eq!((url.as_str(), password.as_str()), ("postgres://a@db:5432/b", "p@ss:"));
        let (url, password) = without_password("postgres://db/b").unwrap();
        assert_eq!((url.as_str(), password.as_str()), ("postgres://db/b", ""));
        assert_eq!(with_database("postgres://a:b@db/x", "y").unwrap(), "postgres://a:b@db/y");
        assert!(without_password("db:5432").is_err());
        assert!(without_password("postgres://a:p%4@db").is_err());
    }
}
