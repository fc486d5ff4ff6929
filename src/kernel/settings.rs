//! Typed settings: defaults < file < environment < secret files.
//!
//! Every process reads one TOML file (`--settings FILE` or `MAINSTAY_SETTINGS`; none is fine), then
//! the environment: `MAINSTAY_LISTEN` for a key at the top, `MAINSTAY_DATABASE__URL` for one in a
//! table, and `MAINSTAY_DATABASE__URL_FILE=/run/secrets/url` for a value that lies in a file. A value
//! of the environment that begins with `[` or `{` is read as TOML, so that lists can be given too.
//!
//! A key that nobody knows is refused with its name and its origin, because a misspelt limit is
//! worse than none. So are combinations that would be insecure; the message names the mend.
//!
//! Some settings of some services take effect while they run, when the file changes; the file is then
//! read as at the start, and one that would be refused changes nothing.

mod kafka;
mod kernel;
mod load;
mod redis;
mod registry;
pub(in crate::kernel) mod reload;
mod secret;
mod source;
mod validate;

use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use kafka::{Compression, KafkaSettings};
pub use kernel::{
    ChannelSettings, DatabaseSettings, EventKind, EventSettings, JobSettings, KernelSettings,
    LifecycleSettings, LogFormat, Mode, ReporterSettings, ServerLimits, TelemetrySettings, TlsMode,
    TlsSettings, Transport,
};
pub use load::{load, load_from, load_registry};
pub use redis::{CacheKind, CacheSettings, RedisSettings};
pub use registry::{
    ConsulCheck, ConsulSettings, EtcdSettings, KubernetesSettings, RegistryKind, RegistrySettings,
    ServerTls,
};
pub use reload::{Difference, Origin};
pub use secret::Secret;

/// A service's own settings, one table of the settings file.
///
/// Implementations derive `Serialize` and `Deserialize` with `#[serde(default,
/// deny_unknown_fields)]`, and document effect, unit and default of each field.
pub trait ServiceSettings: DeserializeOwned + Serialize + Default + Send + Sync + 'static {
    /// The table's name, such as `auth`: `[auth]` in the file, `MAINSTAY_AUTH__…` in the environment.
    const SECTION: &'static str;

    /// Refuses values that cannot work together; the message names the setting and the mend.
    fn validate(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What a process runs with.
#[derive(Clone, Debug, Default)]
pub struct Settings<T> {
    /// The kernel's settings.
    pub kernel: KernelSettings,
    /// The service's own.
    pub own: T,
    /// Where they came from.
    pub origin: Origin,
}

impl<T: ServiceSettings> Settings<T> {
    /// The effective settings as TOML, in the form a settings file has; secrets are redacted.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        reload::shown(&reload::table(&self.kernel, &self.own)?)
    }
}

/// What distinguishes the defaults of one service from those of another.
#[derive(Clone, Copy, Debug)]
pub struct ServiceDefaults {
    /// Name of the service, such as `auth-svc`: names the database file.
    pub name: &'static str,
    /// Port of the service; the admin port is 10000 higher.
    pub port: u16,
}

/// The command line that every binary has.
#[derive(Clone, Debug, Default, clap::Parser)]
pub struct Args {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Print the effective settings as TOML, secrets redacted, and exit.
    #[arg(long)]
    pub print_settings: bool,
    /// Check the settings and exit: 0 when they are sound, 1 when they are not.
    #[arg(long)]
    pub check: bool,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub errand: Option<Errand>,
}

/// What a binary does for those who deploy it, with the settings of the process that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Errand {
    /// Ask the process that runs with these settings whether it may take traffic, and exit: 0 when it
    /// may, 1 when it may not.
    Healthcheck,
    /// Apply the migrations that are pending, and exit.
    Migrate,
    /// Wait until somebody has applied every migration that this version brings, and exit.
    AwaitMigrations,
}

impl Args {
    /// Parses the command line of the process; answers `--help` and `--version` and exits by itself.
    pub fn from_command_line(name: &'static str, version: &'static str) -> Self {
        let matches = Self::command().name(name).bin_name(name).version(version).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// What to print instead of serving: the settings, or that they are sound; `None` to serve.
    pub fn answer<T: ServiceSettings>(
        &self,
        settings: &Settings<T>,
    ) -> anyhow::Result<Option<String>> {
        if self.print_settings {
            return settings.to_toml().map(Some);
        }
        Ok(self.check.then(|| "the settings are sound".to_owned()))
    }
}
