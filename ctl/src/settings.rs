//! Where the platform is: flags over environment over file over the state folder's layout.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mainstay::kernel::settings::{RegistrySettings, TlsMode, TlsSettings, load_registry};
use serde::Deserialize;

use crate::cli::{Form, Global};

/// The state folder when nothing is stated.
const HOME: &str = ".mainstay";

/// The settings file of a state folder that says where its services are found; of all sources the
/// weakest.
const FILE_OF_HOME: &str = "mainstayctl.toml";

/// What states the registry in the environment: a settings file of services, or its variables.
const SETTINGS_VARIABLE: &str = "MAINSTAY_SETTINGS";
const REGISTRY_VARIABLES: &str = "MAINSTAY_REGISTRY__";

/// The mesh identity of operators, which names the certificate's files.
const IDENTITY: &str = mainstay::contract::operations::OPERATOR;

/// What a settings file may state.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    /// State folder. Default: `.mainstay`.
    home: Option<PathBuf>,
    /// Form of answers. Default: `table`.
    output: Option<Form>,
    /// Certificates, as services state them.
    tls: Option<TlsSettings>,
    /// The registry, as services state it.
    registry: Option<RegistrySettings>,
}

/// What holds.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) tls: TlsSettings,
    pub(crate) registry: RegistrySettings,
    pub(crate) output: Form,
    /// The access token stated, if one is.
    pub(crate) token: Option<String>,
    /// Where the tokens of a login are kept.
    pub(crate) session: PathBuf,
}

impl Settings {
    pub(crate) fn read(global: Global) -> anyhow::Result<Self> {
        let file = global.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let home = global.home.or(file.home).unwrap_or_else(|| HOME.into());
        let stated = file.tls.unwrap_or_default();
        let in_home = |name: String| Some(home.join("tls").join(name));
        let tls = TlsSettings {
            mode: TlsMode::Mtls,
            ca_file: global.ca.or(stated.ca_file).or_else(|| in_home("ca.pem".into())),
            cert_file: global
                .cert
                .or(stated.cert_file)
                .or_else(|| in_home(format!("{IDENTITY}.pem"))),
            key_file: global.key.or(stated.key_file).or_else(|| in_home(format!("{IDENTITY}.key"))),
        };
        let mut registry = match file.registry {
            Some(stated) => stated,
            None => registry_of(&home)?,
        };
        if let Some(path) = global.registry {
            registry.path = path;
        }
        Ok(Self {
            tls,
            registry,
            output: global.output.or(file.output).unwrap_or_default(),
            token: global.token.filter(|token| !token.is_empty()),
            session: match global.session {
                Some(path) => path,
                None => default_session()?,
            },
        })
    }
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is unsound", path.display()))
    }
}

/// As the environment states it as it does for services; where it is silent, as the state folder does.
fn registry_of(home: &Path) -> anyhow::Result<RegistrySettings> {
    let file = home.join(FILE_OF_HOME);
    let stated = std::env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy();
        name == SETTINGS_VARIABLE || name.starts_with(REGISTRY_VARIABLES)
    });
    if !stated
        && file.exists()
        && let Some(registry) = File::read(&file)?.registry
    {
        return Ok(registry);
    }
    load_registry(home)
}

/// By the XDG Base Directory Specification.
fn default_session() -> anyhow::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = folder("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(folder("HOME")?).join(".config")))
        .context("there is no home folder to keep a session in: state --session FILE")?;
    Ok(config.join("mainstay").join("session.json"))
}
