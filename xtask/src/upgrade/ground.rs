//! What both versions stand on: a state folder, and a platform of its own on the real servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::files::{self, Access};
use crate::home::{Home, HomeLock};
use crate::infra::random_uuid;
use crate::log_line::readable;
use crate::mesh::{PortOffset, Service, gateway};
use crate::psql::Psql;
use crate::real::Real;
use crate::state::Binaries;
use crate::supervisor::Plan;
use crate::{environment, folder, platform, ports, workspace};

/// Offsets of ports of the version before, and of the version after.
const OFFSETS: [std::ops::Range<u16>; 2] = [5_000..5_400, 5_400..5_800];

/// What processes log: the members of consumer groups say which partitions they were given.
const LOG_FILTER: &str = "info,mainstay::kernel::events::kafka::member=debug";

/// One of the two versions that run side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// N-1.
    Before,
    /// N.
    After,
}

impl Version {
    /// As messages and files call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Before => "n-1",
            Self::After => "n",
        }
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Before => Self::After,
            Self::After => Self::Before,
        }
    }
}

/// The ground; what it has on the servers is removed by [`Ground::clear`], and what a run that was
/// killed has left there by the next one.
pub(super) struct Ground {
    pub(super) home: Home,
    real: Real,
    before: Plan,
    after: Plan,
    _lock: HomeLock,
}

impl Ground {
    /// Makes the databases, secrets and certificates of a platform that nobody else has.
    pub(super) fn lay(root: PathBuf, infra: &Path, binaries: [PathBuf; 2]) -> anyhow::Result<Self> {
        let home = Home::at(root)?;
        let Some(lock) = home.take()? else {
            bail!("another upgrade runs on {}: wait for its end", home.root().display());
        };
        clear(&home)?;
        std::fs::create_dir_all(home.path("settings"))?;
        let settings = folder::settings_file(&home, gateway());
        files::write(&settings, platform::wide_limits()?.as_bytes(), Access::Everybody)?;
        folder::lay(&home)?;
        let platform: String = random_uuid().chars().filter(|letter| *letter != '-').collect();
        let platform = format!("upgrade{}", platform.get(..12).unwrap_or_default());
        let offsets = OFFSETS.map(ports::free);
        let real = Real::provision_as(&home, &std::path::absolute(infra)?, &platform)?;
        let plan = |folder: PathBuf, offset: anyhow::Result<PortOffset>| {
            let binaries = Binaries { folder, release: false, built_here: false };
            let (home, real) = (home.clone(), Some(infra.to_owned()));
            Ok::<_, anyhow::Error>(Plan { home, offset: offset?, binaries, real, observe: false })
        };
        let [before, after] = binaries;
        let [offset_before, offset_after] = offsets;
        let (before, after) = (plan(before, offset_before)?, plan(after, offset_after)?);
        Ok(Self { home, real, before, after, _lock: lock })
    }

    /// What a version is run by.
    pub(super) fn plan(&self, version: Version) -> &Plan {
        match version {
            Version::Before => &self.before,
            Version::After => &self.after,
        }
    }

    /// Gives a command what a process of an installation would have. Both versions name the same
    /// issuer, as behind one public address.
    pub(super) fn settle(&self, command: &mut Command, version: Version, service: &Service) {
        environment::apply(command, self.plan(version), service, Some(&self.real));
        if let Some(issuer) = environment::issuer_variable(service) {
            command.env(issuer, format!("http://{}", gateway().address(self.before.offset)));
        }
        command.env("MAINSTAY_MODE", "production");
        command.env("MAINSTAY_TELEMETRY__LOG_FILTER", LOG_FILTER);
    }

    /// An errand of a version's program, such as `migrate`.
    pub(super) fn errand(&self, version: Version, service: &Service, errand: &str) -> Command {
        let mut command = Command::new(self.plan(version).binaries.folder.join(service.binary));
        self.settle(&mut command, version, service);
        command.arg(errand).current_dir(workspace::root());
        command
    }

    /// The platform's database, for its administrator.
    pub(super) fn database(&self) -> anyhow::Result<Psql> {
        self.real.database()
    }

    /// The log of a process.
    pub(super) fn log_file(&self, version: Version, service: &Service) -> PathBuf {
        self.home.log_file(&format!("{}.{}", service.name, version.name()))
    }

    /// What processes of either version wrote as errors.
    pub(super) fn errors(&self) -> Vec<String> {
        let logs = std::fs::read_dir(self.home.path("logs")).into_iter().flatten().flatten();
        let of = |log: &Path| {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let severe = text.lines().filter_map(readable).filter(|line| line.severe);
            severe.map(|line| format!("{name}: {}", line.text)).collect::<Vec<_>>()
        };
        logs.flat_map(|log| of(&log.path())).collect()
    }

    /// Removes what the platform has on the servers; logs stay until the next run.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        self.real.forget(&self.home)
    }
}

/// Removes what a run before has left.
fn clear(home: &Home) -> anyhow::Result<()> {
    if let Some(real) = Real::load(home)? {
        real.forget(home).context("what an interrupted run has left cannot be removed")?;
    }
    for entry in std::fs::read_dir(home.root())?.flatten() {
        files::remove(&entry.path())?;
    }
    Ok(())
}
