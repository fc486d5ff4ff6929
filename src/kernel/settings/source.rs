//! The environment as a source of settings, and the secret files it names.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use config::{ConfigError, Map, Source, Value, ValueKind};

/// What the name of every variable of the platform begins with.
pub(super) const PREFIX: &str = "MAINSTAY_";

/// Separates table and key in a variable's name.
const SEPARATOR: &str = "__";

/// A variable whose name ends so holds the path of the file with the value.
const FILE_SUFFIX: &str = "_file";

/// The settings that the environment states, by dotted path.
#[derive(Clone, Debug)]
pub(super) struct Environment(Map<String, Value>);

impl Environment {
    /// Reads the variables, and the secret files that they name. `is_known` tells whether a path is
    /// a setting, so that `tls.ca_file` is not taken for a secret file of `tls.ca`.
    pub(super) fn read(
        variables: &BTreeMap<String, String>,
        is_known: impl Fn(&[String]) -> bool,
    ) -> anyhow::Result<Self> {
        let mut values: Map<String, Value> = Map::new();
        for (name, text) in variables {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let path: Vec<String> = key.split(SEPARATOR).map(str::to_lowercase).collect();
            if path.iter().any(String::is_empty) {
                bail!(
                    "environment variable {name} names no setting: write {PREFIX}<KEY> or \
                     {PREFIX}<TABLE>{SEPARATOR}<KEY>"
                );
            }
            let (path, value) = match secret_path(&path).filter(|_| !is_known(&path)) {
                Some(target) if is_known(&target) => (target, secret_file(name, text)?),
                _ => (path, typed(name, text)),
            };
            let path = path.join(".");
            if values.insert(path.clone(), value).is_some() {
                bail!("setting {path} is given twice, by a variable and by its _FILE: keep one");
            }
        }
        Ok(Self(values))
    }
}

impl Source for Environment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// The setting whose value lies in a file, if the path ends as such a variable does.
fn secret_path(path: &[String]) -> Option<Vec<String>> {
    let (last, tables) = path.split_last()?;
    let key = last.strip_suffix(FILE_SUFFIX).filter(|key| !key.is_empty())?;
    Some(tables.iter().cloned().chain([key.to_owned()]).collect())
}

fn secret_file(name: &str, path: &str) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("secret file {path}, named by {name}, cannot be read"))?;
    let origin = format!("secret file {path}, named by environment variable {name}");
    Ok(Value::new(Some(&origin), text.trim_end_matches(['\r', '\n'])))
}

fn typed(name: &str, text: &str) -> Value {
    let origin = format!("environment variable {name}");
    let structured = text
        .starts_with(['[', '{'])
        .then(|| toml::from_str::<toml::Table>(&format!("value = {text}")).ok())
        .flatten()
        .and_then(|mut table| table.remove("value"));
    match structured {
        Some(value) => from_toml(&origin, value),
        None => Value::new(Some(&origin), text),
    }
}

fn from_toml(origin: &String, value: toml::Value) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text),
        toml::Value::Integer(number) => ValueKind::I64(number),
        toml::Value::Float(number) => ValueKind::Float(number),
        toml::Value::Boolean(flag) => ValueKind::Boolean(flag),
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(items) => {
            ValueKind::Array(items.into_iter().map(|item| from_toml(origin, item)).collect())
        }
        toml::Value::Table(table) => ValueKind::Table(
            table.into_iter().map(|(key, value)| (key, from_toml(origin, value))).collect(),
        ),
    };
    Value::new(Some(origin), kind)
}
