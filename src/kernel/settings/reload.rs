//! Settings that are read again: where they came from, and what has changed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use toml::{Table, Value};
use url::Url;

use super::kernel::KernelSettings;
use super::{Args, ServiceDefaults, ServiceSettings, Settings, load_from};

/// What stands in a URL in the place of its user and password.
const REDACTED_USER: &str = "redacted";

/// Where settings came from. The default is nowhere: they were made by a program.
#[derive(Clone, Default)]
pub struct Origin(Option<Arc<Layers>>);

struct Layers {
    file: PathBuf,
    defaults: ServiceDefaults,
    environment: BTreeMap<String, String>,
}

impl Origin {
    pub(super) fn new(
        file: Option<PathBuf>,
        defaults: ServiceDefaults,
        environment: BTreeMap<String, String>,
    ) -> Self {
        Self(file.map(|file| Arc::new(Layers { file, defaults, environment })))
    }

    /// The settings file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.0.as_ref().map(|layers| layers.file.as_path())
    }

    /// Reads the settings again, with the environment of the start.
    ///
    /// # Errors
    /// Where they would not have been taken at the start either, or came from no file.
    pub fn load<T: ServiceSettings>(&self) -> anyhow::Result<Settings<T>> {
        let layers = self.0.as_ref().context("there is no settings file to read again")?;
        let args = Args { settings: Some(layers.file.clone()), ..Args::default() };
        load_from(&args, layers.defaults, layers.environment.clone())
    }
}

impl fmt::Debug for Origin {
    /// Without the environment, which may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Origin").field("file", &self.file()).finish_non_exhaustive()
    }
}

/// The settings in which two readings differ, such as `redis.url` or `gateway.rates`. A secret that
/// changed is not among them: it is never written out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Those that take effect at once.
    pub effective: Vec<String>,
    /// Those that need a restart.
    pub pending: Vec<String>,
}

impl Difference {
    /// What differs; `reloadable` names the settings that take effect at once.
    pub(in crate::kernel) fn between(before: &Table, after: &Table, reloadable: &[&str]) -> Self {
        let mut names = Vec::new();
        differing("", before, after, &mut names);
        let (effective, pending) =
            names.into_iter().partition(|name| reloadable.contains(&name.as_str()));
        Self { effective, pending }
    }
}

/// Kernel's and own settings as one table, in the form of a settings file.
pub(in crate::kernel) fn table<T: ServiceSettings>(
    kernel: &KernelSettings,
    own: &T,
) -> anyhow::Result<Table> {
    let mut table = Table::try_from(kernel)?;
    table.insert(T::SECTION.to_owned(), Value::try_from(own)?);
    Ok(table)
}

/// The table as it may be shown: URLs without the user and the password that somebody wrote into them.
pub(in crate::kernel) fn shown(table: &Table) -> anyhow::Result<String> {
    let mut table = Value::Table(table.clone());
    hide_credentials(&mut table);
    Ok(toml::to_string(&table)?)
}

fn hide_credentials(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Ok(mut url) = Url::parse(text)
                && (url.password().is_some() || !url.username().is_empty())
                && url.set_username(REDACTED_USER).is_ok()
                && url.set_password(None).is_ok()
            {
                *text = url.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_credentials),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| hide_credentials(value)),
        _ => {}
    }
}

/// Sets the setting of this name, such as `gateway.rates`, to what `from` states.
pub(in crate::kernel) fn take_over(table: &mut Table, from: &Table, name: &str) {
    let Some((section, key)) = name.split_once('.') else { return };
    let stated = from.get(section).and_then(|from| from.get(key)).cloned();
    if let Some(Value::Table(section)) = table.get_mut(section) {
        match stated {
            Some(stated) => drop(section.insert(key.to_owned(), stated)),
            None => drop(section.remove(key)),
        }
    }
}

/// The keys of a table, and those of the tables in it, whose values differ.
fn differing(prefix: &str, before: &Table, after: &Table, names: &mut Vec<String>) {
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    for key in after.keys().chain(removed) {
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) if prefix.is_empty() => {
                differing(&format!("{key}."), before, after, names);
            }
            (before, after) if before != after => names.push(format!("{prefix}{key}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_not_shown() {
        let table = toml::toml! {
            kept = "http://127.0.0.1:4317"
            urls = ["https://ada:canary@etcd:2379/", "not a url"]
            [telemetry]
            otlp_endpoint = "https://canary@collector:4317/"
        };
        let text = shown(&table).expect("written");
        assert!(!text.contains("canary") && !text.contains("ada"), "{text}");
        assert!(text.contains("https://redacted@etcd:2379/"), "{text}");
        assert!(text.contains("\"http://127.0.0.1:4317\""), "{text}");
    }

    #[test]
    fn what_took_effect_is_taken_over_and_nothing_else() {
        let mut table = toml::toml! { mode = "development" [gateway] rates = 1 hops = 1 };
        let from = toml::toml! { mode = "production" [gateway] rates = 2 hops = 2 };
        take_over(&mut table, &from, "gateway.rates");
        take_over(&mut table, &from, "gateway.gone");
        assert_eq!(table, toml::toml! { mode = "development" [gateway] rates = 2 hops = 1 });
    }

    #[test]
    fn what_differs_is_named_by_table_and_key() {
        let before = toml::toml! {
            mode = "development"
            [redis]
            prefix = "a"
            [gateway]
            trusted_hops = 0
            rates = { read = { default = "1/1m" } }
        };
        let after = toml::toml! {
            mode = "production"
            [redis]
            prefix = "a"
            ca_file = "b"
            [gateway]
            rates = { read = { default = "2/1m" } }
        };
        let found = Difference::between(&before, &after, &["gateway.rates"]);
        assert_eq!(found.effective, ["gateway.rates"]);
        assert_eq!(found.pending, ["gateway.trusted_hops", "mode", "redis.ca_file"]);
        assert_eq!(Difference::between(&after, &after, &[]), Difference::default());
    }
}
