//! From layers to typed settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use config::{Config, ConfigError, File, FileFormat, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::kernel::KernelSettings;
use super::registry::RegistrySettings;
use super::reload::Origin;
use super::source::Environment;
use super::{Args, Errand, ServiceDefaults, ServiceSettings, Settings};

/// The variable that names the settings file when `--settings` does not.
const SETTINGS_VARIABLE: &str = "MAINSTAY_SETTINGS";

/// Admin port of a service: its port and this.
const ADMIN_PORT_OFFSET: u16 = 10_000;

/// Loads the settings of this process and refuses what is unknown, ill-typed or insecure.
pub fn load<T: ServiceSettings>(
    args: &Args,
    defaults: ServiceDefaults,
) -> anyhow::Result<Settings<T>> {
    load_from(args, defaults, own_environment()?)
}

/// Where services find each other, for those that only call: the table `[registry]` of the file that
/// `MAINSTAY_SETTINGS` names, if any, and of the environment. Where neither states a folder it is
/// the one in `home`.
pub fn load_registry(home: &Path) -> anyhow::Result<RegistrySettings> {
    let mut environment = own_environment()?;
    let file = environment.remove(SETTINGS_VARIABLE).filter(|path| !path.is_empty());
    let table = format!("{}REGISTRY__", super::source::PREFIX);
    environment.retain(|name, _| name.starts_with(&table));
    let known = serde_json::json!({ "registry": RegistrySettings::default() });
    let environment = Environment::read(&environment, |path| is_known(&known, path))?;
    let mut layers = merge(file.as_deref().map(Path::new), environment)?;
    let stated = match layers.remove("registry") {
        Some(Value { kind: ValueKind::Table(table), .. }) => table,
        _ => Table::default(),
    };
    let folder_stated = stated.contains_key("path");
    let mut settings: RegistrySettings = parse(stated, "registry")?;
    if !folder_stated {
        settings.path = home.join("registry");
    }
    Ok(settings)
}

fn own_environment() -> anyhow::Result<BTreeMap<String, String>> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(super::source::PREFIX))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => bail!("environment variable {name} is not valid UTF-8"),
        })
        .collect()
}

/// As [`load`], with the environment given.
pub fn load_from<T: ServiceSettings>(
    args: &Args,
    defaults: ServiceDefaults,
    mut environment: BTreeMap<String, String>,
) -> anyhow::Result<Settings<T>> {
    let variables = environment.clone();
    let named = environment.remove(SETTINGS_VARIABLE).filter(|path| !path.is_empty());
    let file = args.settings.clone().or(named.map(PathBuf::from));
    let known = known_keys::<T>()?;
    let environment = Environment::read(&environment, |path| is_known(&known, path))?;
    let mut layers = merge(file.as_deref(), environment)?;
    let own = layers.remove(T::SECTION);
    let mut settings = Settings {
        kernel: parse_kernel(layers, defaults)?,
        own: match own {
            Some(Value { kind: ValueKind::Table(table), .. }) => parse(table, T::SECTION)?,
            Some(other) => bail!("{} must be a table{}", T::SECTION, origin(other.origin())),
            None => T::default(),
        },
        origin: Origin::new(file, defaults, variables),
    };
    if settings.kernel.database.url.expose().is_empty() {
        let file = settings.kernel.data_dir.join(format!("{}.db", defaults.name));
        settings.kernel.database.url = format!("sqlite://{}?mode=rwc", file.display()).into();
    }
    // Who asks a process for its health runs nothing by these settings; the process has checked its own,
    // some of which may stand on its command line alone.
    if args.errand != Some(Errand::Healthcheck) {
        settings.kernel.validate()?;
        settings.own.validate()?;
    }
    Ok(settings)
}

type Table = config::Map<String, Value>;

fn merge(file: Option<&Path>, environment: Environment) -> anyhow::Result<Table> {
    let mut layers = Config::builder();
    if let Some(path) = file {
        std::fs::metadata(path)
            .with_context(|| format!("settings file {} cannot be read", path.display()))?;
        layers = layers.add_source(File::from(path).format(FileFormat::Toml));
    }
    let merged = layers.add_source(environment).build().map_err(|error| match file {
        Some(path) => anyhow!("settings file {}: {error}", path.display()),
        None => anyhow!(error),
    })?;
    match merged.cache.kind {
        ValueKind::Table(table) => Ok(table),
        _ => Ok(Table::default()),
    }
}

/// Every key there is, with the default as value: what tells a setting that ends in `_file` from a
/// secret file.
fn known_keys<T: ServiceSettings>() -> anyhow::Result<serde_json::Value> {
    let mut kernel = KernelSettings::default();
    // Left out when it is empty, and a setting all the same.
    kernel.redis.url = "redis://".to_owned().into();
    let mut keys = serde_json::to_value(kernel)?;
    keys[T::SECTION] = serde_json::to_value(T::default())?;
    Ok(keys)
}

fn is_known(keys: &serde_json::Value, path: &[String]) -> bool {
    path.iter().try_fold(keys, |keys, segment| keys.get(segment)).is_some()
}

/// Addresses that are not stated follow from the port of the service.
fn parse_kernel(layers: Table, defaults: ServiceDefaults) -> anyhow::Result<KernelSettings> {
    let (listen_stated, admin_stated) =
        (layers.contains_key("listen"), layers.contains_key("admin_listen"));
    let mut kernel: KernelSettings = parse(layers, "")?;
    if !listen_stated {
        kernel.listen.set_port(defaults.port);
    }
    if !admin_stated && kernel.listen.port() != 0 {
        let port = kernel.listen.port().checked_add(ADMIN_PORT_OFFSET).with_context(|| {
            format!(
                "listen {} leaves no port for health and metrics: set admin_listen",
                kernel.listen
            )
        })?;
        kernel.admin_listen.set_port(port);
    }
    Ok(kernel)
}

fn parse<T: DeserializeOwned>(table: Table, section: &str) -> anyhow::Result<T> {
    let origins = Value::new(None, table.clone());
    Value::new(None, table).try_deserialize().map_err(|error| explain(&error, section, &origins))
}

/// Says which key is at fault and where it came from.
fn explain(error: &ConfigError, section: &str, origins: &Value) -> anyhow::Error {
    let (mut path, message) = match error {
        ConfigError::Type { unexpected, expected, key, .. } => {
            (key.clone().unwrap_or_default(), format!("expected {expected}, found {unexpected}"))
        }
        ConfigError::At { error, key, .. } => (key.clone().unwrap_or_default(), error.to_string()),
        other => (String::new(), other.to_string()),
    };
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    if let Some(field) = unknown {
        path = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    }
    let origin = origin(find(origins, &path).and_then(origin_of));
    let path = if section.is_empty() { path } else { format!("{section}.{path}") };
    match unknown {
        Some(_) => anyhow!("unknown setting {path}{origin}: {}", expectation(&message)),
        None => anyhow!("setting {path}{origin}: {message}"),
    }
}

/// The part of serde's message that lists what would have been known.
fn expectation(message: &str) -> &str {
    message.split_once(", ").map_or("no such setting", |(_, expected)| expected)
}

fn origin(origin: Option<&str>) -> String {
    origin.map(|origin| format!(" (from {origin})")).unwrap_or_default()
}

/// Merging drops the origin of tables; that of something in them serves as well.
fn origin_of(value: &Value) -> Option<&str> {
    value.origin().or_else(|| match &value.kind {
        ValueKind::Table(table) => table.values().find_map(origin_of),
        ValueKind::Array(items) => items.iter().find_map(origin_of),
        _ => None,
    })
}

fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, segment| {
        let key = segment.split('[').next().unwrap_or(segment);
        match &value.kind {
            ValueKind::Table(table) => table.get(key),
            _ => None,
        }
    })
}
