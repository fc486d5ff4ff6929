//! PostgreSQL: a cluster of its own, made by `initdb`.
//!
//! It refuses to run as root. When root calls, it runs as the user `postgres`, or `nobody` where
//! there is none, to whom its folder then belongs.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, geteuid};

use super::endpoints::Endpoint;
use super::launch::{FOLDER, Launch};
use super::program::{self, Missing, Program};
use super::server::Server;
use super::site::Site;
use crate::files::{self, Access};
use crate::psql::Psql;
use crate::terminal::Screen;

const PORTS: [u16; 1] = [15432];

/// Where packages put the programs, one folder a major version.
const PACKAGE_FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

/// Enough for the pools of many services that are tested at once.
const MAX_CONNECTIONS: u32 = 400;

const SUPERUSER: &str = "postgres";

/// Whom it runs as when root calls; the first that there is.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// The PostgreSQL server.
#[derive(Debug)]
pub(crate) struct PostgreSql;

impl Server for PostgreSql {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn title(&self) -> &'static str {
        "PostgreSQL"
    }

    fn ports(&self) -> &'static [u16] {
        &PORTS
    }

    fn missing(&self, site: &Site) -> Option<Missing> {
        match (installed().as_slice(), made_by(site)) {
            ([], None) => Some(Missing::package(self.title(), "postgresql postgresql-client")),
            (found, Some(major)) if choose(found, Some(major)).is_none() => Some(Missing::package(
                &format!("PostgreSQL {major}, which made {},", site.path("postgres").display()),
                &format!("postgresql-{major}"),
            )),
            _ if Psql::find().is_none() => {
                Some(Missing::package("psql, PostgreSQL's client,", "postgresql-client"))
            }
            _ => None,
        }
    }

    fn obtain(&self, site: &Site, _screen: &Screen) -> anyhow::Result<Program> {
        let chosen = choose(&installed(), made_by(site)).context("PostgreSQL is not installed")?;
        let server = Program::at(chosen.join("postgres"), "--version")?;
        Ok(Program { path: chosen, ..server })
    }

    fn prepare(&self, site: &Site, program: &Program) -> anyhow::Result<()> {
        let folder = site.folder(self.name())?;
        let user = user()?;
        if let Some((uid, gid)) = user {
            give(&folder, uid, gid)?;
        }
        if made_by(site).is_some() {
            return Ok(());
        }
        // What an interrupted initdb left is no cluster.
        files::remove(&folder.join("data"))?;
        let password = folder.join("password");
        files::write(&password, site.passwords.postgres.as_bytes(), Access::Owner)?;
        if let Some((uid, gid)) = user {
            chown(&password, Some(uid), Some(gid))?;
        }
        let launch = Launch { user, folder: Some(&folder), attached: true };
        let mut initdb = launch.command(&program.path.join("initdb"));
        initdb
            .arg(format!("--pgdata={FOLDER}/data"))
            .arg(format!("--pwfile={FOLDER}/password"))
            .arg(format!("--username={SUPERUSER}"))
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
        let made = program::output(&mut initdb);
        files::remove(&password)?;
        made.map(|_| ()).context("the data folder of PostgreSQL cannot be made")
    }

    fn command(&self, site: &Site, program: &Program) -> anyhow::Result<Command> {
        let folder = site.folder(self.name())?;
        let launch = Launch { user: user()?, folder: Some(&folder), attached: false };
        let mut command = launch.command(&program.path.join("postgres"));
        command.args(["-D", &format!("{FOLDER}/data")]);
        for setting in [
            format!("port={}", site.address_of(self).port()),
            format!("listen_addresses={}", site.address_of(self).ip()),
            "unix_socket_directories=".to_owned(),
            format!("max_connections={MAX_CONNECTIONS}"),
            // For change data capture in the place of the relay.
            "wal_level=logical".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        Ok(command)
    }

    fn check(&self, site: &Site) -> anyhow::Result<()> {
        Psql::open(&url(self, site))?.run("select 1").map(|_| ())
    }

    fn endpoint(&self, site: &Site) -> Endpoint {
        Endpoint::url(url(self, site))
    }

    /// Ends sessions; TERM would wait for clients to leave by themselves.
    fn stop_signal(&self) -> Signal {
        Signal::INT
    }
}

fn url(server: &PostgreSql, site: &Site) -> String {
    let (password, address) = (&site.passwords.postgres, site.address_of(server));
    format!("postgres://{SUPERUSER}:{password}@{address}/postgres")
}

/// Folders with the programs of a server, and their major versions; the newest first.
fn installed() -> Vec<(u32, PathBuf)> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix) in PACKAGE_FOLDERS {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        found.extend(entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let major = name.strip_prefix(prefix)?.parse().ok()?;
            is_complete(&entry.path().join("bin")).map(|folder| (major, folder))
        }));
    }
    if let Some(folder) = program::find("initdb").and_then(|file| is_complete(file.parent()?))
        && let Ok(server) = Program::at(folder.join("postgres"), "--version")
    {
        found.push((server.major(), folder));
    }
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found
}

fn is_complete(folder: &Path) -> Option<PathBuf> {
    let complete =
        ["initdb", "postgres"].iter().all(|name| program::is_program(&folder.join(name)));
    complete.then(|| folder.to_owned())
}

/// The version that made the data, else the newest.
fn choose(installed: &[(u32, PathBuf)], made_by: Option<u32>) -> Option<PathBuf> {
    let chosen = installed.iter().find(|(major, _)| made_by.is_none_or(|wanted| wanted == *major));
    chosen.map(|(_, folder)| folder.clone())
}

/// The major version that made the data folder. `global/pg_control` is written last.
fn made_by(site: &Site) -> Option<u32> {
    let data = site.path("postgres/data");
    if !data.join("global/pg_control").exists() {
        return None;
    }
    std::fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Whom it runs as: nobody else, unless root calls.
fn user() -> anyhow::Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
    match USERS.iter().find_map(|name| ids(&users, name)) {
        Some(user) => Ok(Some(user)),
        None => bail!(
            "PostgreSQL refuses root, and there is no user {}\nmend: useradd --system {}",
            USERS.join(" or "),
            USERS[0]
        ),
    }
}

/// User and group id of a name (passwd(5)).
fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let named = fields.first() == Some(&name);
        named.then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))).flatten()
    })
}

/// Gives a folder, with all that is in it, to a user; does nothing if it is theirs.
fn give(folder: &Path, uid: u32, gid: u32) -> anyhow::Result<()> {
    let metadata = folder.symlink_metadata()?;
    if metadata.uid() == uid {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            give(&entry?.path(), uid, gid)?;
        }
    }
    std::os::unix::fs::lchown(folder, Some(uid), Some(gid))
        .with_context(|| format!("{} cannot be given to user {uid}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_made_the_data_runs_it() {
        let installed = [(17, PathBuf::from("/17")), (15, PathBuf::from("/15"))];
        assert_eq!(choose(&installed, None), Some(PathBuf::from("/17")));
        assert_eq!(choose(&installed, Some(15)), Some(PathBuf::from("/15")));
        assert_eq!(choose(&installed, Some(14)), None);
    }

    #[test]
    fn a_user_has_ids() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib:/bin/sh\n";
        assert_eq!(ids(users, "postgres"), Some((101, 104)));
        assert_eq!(ids(users, "nobody"), None);
    }
}
