//! Lays the state folder: everything a service finds there before it starts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::certificates::Certificates;
use crate::credentials::Credentials;
use crate::files::{self, Access};
use crate::home::Home;
use crate::mesh::{EXTRA_IDENTITIES, SERVICES, Service};

const FOLDERS: [&str; 6] = ["data", "registry", "settings", "logs", "run", "tls"];

/// What `reset` forgets; edited settings stay.
pub(crate) const FORGOTTEN: [&str; 9] = [
    "data",
    "registry",
    "broker.db",
    "secrets",
    "admin.json",
    "tls",
    "logs",
    "run",
    crate::operator::FILE,
];

/// Makes what is missing and mends what is damaged; says what that was.
pub(crate) fn lay(home: &Home) -> anyhow::Result<Vec<String>> {
    // Keys and tokens lie in the databases, so the folder is the owner's alone.
    std::fs::set_permissions(home.root(), std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("{} is not ours", home.root().display()))?;
    for name in FOLDERS {
        let path = home.path(name);
        std::fs::create_dir_all(&path).with_context(|| {
            format!(
                "{} cannot be made\nmend: move what is in its place away, or cargo xtask reset",
                path.display()
            )
        })?;
    }
    let identities = SERVICES.iter().map(|service| service.name).chain(EXTRA_IDENTITIES);
    let mut notices = Certificates::at(home.path("tls")).ensure(identities)?;
    notices.extend(Credentials::of(home).ensure()?);
    for service in &SERVICES {
        ensure_settings(home, service)?;
    }
    forget_instances(home)?;
    Ok(notices)
}

/// The settings file of a service.
pub(crate) fn settings_file(home: &Home, service: &Service) -> PathBuf {
    home.path("settings").join(format!("{}.toml", service.name))
}

fn ensure_settings(home: &Home, service: &Service) -> anyhow::Result<()> {
    let path = settings_file(home, service);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            if let Err(error) = toml::from_str::<toml::Table>(&text) {
                bail!(
                    "{} is no TOML: {error}mend: correct it, or delete it to get a fresh one",
                    path.display()
                );
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            files::write(&path, settings_text(service).as_bytes(), Access::Everybody)
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn settings_text(service: &Service) -> String {
    let Service { name, binary, section, .. } = service;
    format!(
        "# Settings of {name} under `cargo xtask up`. Yours to edit; then `cargo xtask restart {name}`.\n\
         #\n\
         # `{binary} --print-settings` shows what there is to set. Addresses, folders, certificates\n\
         # and secrets come from xtask through the environment, which wins over this file.\n\
         \n\
         [telemetry]\n\
         log_filter = \"info\"\n\
         \n\
         [{section}]\n\
         {}",
        development_settings(section)
    )
}

/// What development wants otherwise than production: a developer and their tests log in often.
fn development_settings(section: &str) -> &'static str {
    match section {
        "gateway" => {
            "\n# Logins and registrations of one address; 60/1m when this is not set.\n\
             [gateway.rates.auth]\n\
             default = \"600/1m\"\n"
        }
        _ => "",
    }
}

/// No service runs while the folder is laid, so an entry in the registry is of one that was killed.
fn forget_instances(home: &Home) -> anyhow::Result<()> {
    let registry = home.path("registry");
    let entries = std::fs::read_dir(&registry)
        .with_context(|| format!("{} cannot be read", registry.display()))?;
    entries.flatten().try_for_each(|entry| files::remove(&entry.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laying_twice_changes_nothing_and_keeps_edited_settings() {
        let (_folder, home) = home();
        assert_eq!(lay(&home).unwrap(), Vec::<String>::new());
        let settings = settings_file(&home, &SERVICES[0]);
        std::fs::write(&settings, "[telemetry]\nlog_filter = \"debug\"\n").unwrap();
        std::fs::write(home.path("registry/killed.json"), "{}").unwrap();
        assert_eq!(lay(&home).unwrap(), Vec::<String>::new());
        assert!(std::fs::read_to_string(&settings).unwrap().contains("debug"));
        assert!(!home.path("registry/killed.json").exists());
        assert_eq!(home.root().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn settings_that_are_no_toml_are_refused_with_their_file() {
        let (_folder, home) = home();
        lay(&home).unwrap();
        std::fs::write(settings_file(&home, &SERVICES[0]), "[telemetry\n").unwrap();
        let refused = lay(&home).unwrap_err().to_string();
        assert!(refused.contains("authz-svc.toml"), "{refused}");
        assert!(refused.contains("mend:"), "{refused}");
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_named() {
        let (_folder, home) = home();
        std::fs::write(home.path("data"), "").unwrap();
        let refused = lay(&home).unwrap_err().to_string();
        assert!(refused.contains("data cannot be made"), "{refused}");
    }

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("state")).unwrap();
        (folder, home)
    }
}
