//! The folder `.mainstay/infra/`: data, logs, passwords, and where the ports lie.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::server::{SERVERS, Server};
use crate::credentials::{PASSWORD_LENGTH, password_of};
use crate::files::{self, Access};
use crate::home::Home;
use crate::mesh::PortOffset;
use crate::ports;

/// Folders of every site; the servers' own are made by themselves.
const FOLDERS: [&str; 2] = ["logs", "run"];

/// Where the servers live.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    root: PathBuf,
    offset: u16,
    /// Made up once, kept in `passwords.json`.
    pub(crate) passwords: Passwords,
}

/// What the servers are guarded by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passwords {
    /// Of PostgreSQL's superuser.
    pub(crate) postgres: String,
    /// Of Redis.
    pub(crate) redis: String,
    /// Consul's management token, a UUID.
    pub(crate) consul: String,
}

impl Site {
    /// The site of a state folder; made if it is not there.
    pub(crate) fn open(home: &Home, port_offset: Option<u16>) -> anyhow::Result<Self> {
        let root = home.path("infra");
        for folder in FOLDERS {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        // Passwords and data lie here.
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("{} is not ours", root.display()))?;
        let offset = offset(PortOffset::from(port_offset)?.get())?;
        let passwords = passwords(&root.join("passwords.json"))?;
        Ok(Self { root, offset, passwords })
    }

    /// A path below the folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The folder of a server; made if it is not there.
    pub(crate) fn folder(&self, server: &str) -> anyhow::Result<PathBuf> {
        let folder = self.path(server);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(folder)
    }

    /// What a server wrote.
    pub(crate) fn log_file(&self, server: &str) -> PathBuf {
        self.root.join("logs").join(format!("{server}.log"))
    }

    /// What is kept about a running server.
    pub(crate) fn record_file(&self, server: &str) -> PathBuf {
        self.root.join("run").join(format!("{server}.json"))
    }

    /// Where a port is, on loopback and shifted.
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port + self.offset))
    }

    /// Where clients reach a server.
    pub(crate) fn address_of(&self, server: &dyn Server) -> SocketAddr {
        self.address(server.ports().first().copied().unwrap_or_default())
    }

    /// The same site with the ports that a running server was started with.
    pub(crate) fn with_offset(&self, offset: u16) -> Self {
        Self { offset, ..self.clone() }
    }

    /// How far ports are shifted.
    pub(crate) fn offset(&self) -> u16 {
        self.offset
    }

    /// Waits until no other command changes the site.
    pub(crate) fn turn(&self) -> anyhow::Result<File> {
        let folder = File::open(&self.root)
            .with_context(|| format!("{} cannot be opened", self.root.display()))?;
        folder.lock().context("the folder has no locks")?;
        Ok(folder)
    }

    /// Refuses to start a server on a port that somebody else has.
    pub(crate) fn require_free_ports(&self, server: &dyn Server) -> anyhow::Result<()> {
        let wanted = server.ports().iter().map(|port| (server.title(), self.address(*port)));
        let taken = ports::taken(wanted);
        if taken.is_empty() {
            return Ok(());
        }
        bail!(
            "{}\nmend: stop what uses the port, or shift every port: cargo xtask infra up \
             --port-offset {}",
            taken.join("\n"),
            self.offset + 100
        )
    }
}

/// An offset after which every server still has its ports.
fn offset(offset: u16) -> anyhow::Result<u16> {
    let highest = SERVERS.iter().flat_map(|server| server.ports()).max().copied();
    let most = u16::MAX - highest.unwrap_or_default();
    if offset > most {
        bail!("port offset {offset} leaves no room for the servers' ports: choose at most {most}");
    }
    Ok(offset)
}

/// Reads the passwords, or makes them up. Ones that are lost open nothing any more, so a damaged
/// file is not replaced.
fn passwords(path: &Path) -> anyhow::Result<Passwords> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is damaged\nmend: restore it, or give the servers' data up: cargo xtask infra \
                 down, then remove {}",
                path.display(),
                path.parent().unwrap_or(path).display()
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let passwords = Passwords {
                postgres: password_of(PASSWORD_LENGTH),
                redis: password_of(PASSWORD_LENGTH),
                consul: random_uuid(),
            };
            files::write(path, &serde_json::to_vec_pretty(&passwords)?, Access::Owner)?;
            Ok(passwords)
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// A random UUID (RFC 9562, version 4), which Consul wants its tokens to be.
pub(crate) fn random_uuid() -> String {
    let bits: u128 = rand::random();
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_made_once_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        let passwords = Site::open(&home, Some(0)).unwrap().passwords;
        assert_eq!(passwords.postgres.len(), PASSWORD_LENGTH);
        assert_eq!(Site::open(&home, Some(0)).unwrap().passwords, passwords);
        let file = home.path("infra/passwords.json");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(file, "{\"postg").unwrap();
        let refused = Site::open(&home, Some(0)).unwrap_err().to_string();
        assert!(refused.contains("mend:"), "{refused}");
    }

    #[test]
    fn an_offset_beyond_the_last_port_is_refused() {
        let refused = offset(u16::MAX).unwrap_err().to_string();
        assert!(refused.contains("choose at most"), "{refused}");
    }

    #[test]
    fn a_random_uuid_states_its_version_and_variant() {
        let uuid = random_uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "4", "{uuid}");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    }
}
