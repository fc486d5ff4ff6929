//! `mainstayctl.toml`: where an operator finds the services of a state folder.
//!
//! `mainstayctl` reads it below the folder that `--home` names. On the embedded default there is none:
//! the folder's own registry is what it looks into by itself.

use serde_json::json;

use crate::files::{self, Access};
use crate::home::Home;
use crate::real::Real;

/// Its name.
pub(crate) const FILE: &str = "mainstayctl.toml";

/// Writes what holds for the platform that starts.
pub(crate) fn write(home: &Home, real: Option<&Real>) -> anyhow::Result<()> {
    let path = home.path(FILE);
    let Some(real) = real else { return files::remove(&path) };
    let registry = json!({ "kind": "consul", "consul": real.consul(home)? });
    let text = toml::to_string(&json!({ "registry": registry }))?;
    // The token of Consul is in it.
    files::write(&path, text.as_bytes(), Access::Owner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_registry_of_real_servers_is_named_and_forgotten_on_the_embedded_default() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        std::fs::create_dir(home.path("secrets")).unwrap();
        let real: Real = serde_json::from_value(json!({
            "infra": "infra.json",
            "kafka_brokers": "127.0.0.1:9092",
            "consul_url": "http://127.0.0.1:8500",
        }))
        .unwrap();
        files::write(&home.path("secrets/consul-token"), b"token\n", Access::Owner).unwrap();
        write(&home, Some(&real)).unwrap();
        let path = home.path(FILE);
        let table: toml::Table = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let consul = &table["registry"]["consul"];
        assert_eq!(consul["url"].as_str(), Some("http://127.0.0.1:8500"));
        assert_eq!(consul["token"].as_str(), Some("token"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        write(&home, None).unwrap();
        assert!(!path.exists());
    }
}
