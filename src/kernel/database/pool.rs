//! Opening a pool: which database it is, and what to say when it cannot be opened.

use std::time::Duration;

use anyhow::Context as _;
use sea_orm::DatabaseConnection;

use super::{WRITE_PATIENCE, failure, postgres, sqlite};
use crate::kernel::settings::DatabaseSettings;
use crate::kernel::telemetry::metrics::PoolState;

pub(crate) use failure::is_busy;

/// When a commit reaches the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// `synchronous = FULL`: a commit that was answered survives a power cut. For state and events.
    EveryCommit,
    /// `synchronous = NORMAL`: the file stays sound, the last commits may be lost with the power.
    /// For what repeats itself, such as a consumer's position and its lease.
    Checkpoint,
}

/// A pool of `service` that connects when first used. Creates the folder of a SQLite file.
pub(crate) fn open(
    service: &str,
    settings: &DatabaseSettings,
    durability: Durability,
) -> anyhow::Result<DatabaseConnection> {
    let url = settings.url.expose();
    match url.split_once(':') {
        Some(("sqlite", _)) => sqlite::open(settings, durability),
        Some(("postgres" | "postgresql", _)) => postgres::open(service, settings),
        _ => anyhow::bail!(
            "no driver for the database {}; set database.url to sqlite://FILE?mode=rwc or to \
             postgres://USER:PASSWORD@HOST/DATABASE",
            location(url)
        ),
    }
}

/// How many connections are open, and how many of them are in use.
pub(super) fn state(connection: &DatabaseConnection) -> PoolState {
    let (open, idle) = if failure::is_postgres(connection) {
        let pool = connection.get_postgres_connection_pool();
        (pool.size(), pool.num_idle())
    } else {
        let pool = connection.get_sqlite_connection_pool();
        (pool.size(), pool.num_idle())
    };
    let idle = idle as u64;
    PoolState { idle, used: u64::from(open).saturating_sub(idle) }
}

/// Makes the first connection, or says why not and what to do.
pub(crate) async fn connect(connection: &DatabaseConnection, location: &str) -> anyhow::Result<()> {
    if failure::is_postgres(connection) {
        return postgres::connect(connection, location).await;
    }
    let deadline = tokio::time::Instant::now() + WRITE_PATIENCE;
    loop {
        match connection.ping().await {
            Ok(()) => return Ok(()),
            // Turning a new file to WAL needs it alone, and SQLite does not wait for that by itself.
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => {
                let mend = sqlite::mend(&error.to_string());
                return Err(error)
                    .with_context(|| format!("cannot open the database {location}; {mend}"));
            }
        }
    }
}

/// The URL as it may be shown: no user name, no password, no parameters.
pub(crate) fn location(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.split('?').next().unwrap_or(url).to_owned();
    }
    // Without a host, what looks like a scheme may be a user, and the path a password.
    let parsed = url::Url::parse(url).ok();
    let Some((parsed, host)) =
        parsed.as_ref().and_then(|parsed| Some((parsed, parsed.host_str()?)))
    else {
        return "of the setting database.url, which is no URL,".to_owned();
    };
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", parsed.scheme(), parsed.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_location_carries_no_credentials() {
        for (url, shown) in [
            ("sqlite:///var/lib/a.db?mode=rwc", "sqlite:///var/lib/a.db"),
            ("postgres://user:p@ss@host:5432/name?sslmode=x", "postgres://host:5432/name"),
            ("postgres://host/name?user=u&password=p", "postgres://host/name"),
            ("user:p?ss@host", "of the setting database.url, which is no URL,"),
            ("nonsense", "of the setting database.url, which is no URL,"),
        ] {
            assert_eq!(location(url), shown);
        }
    }

    #[test]
    fn a_database_without_a_driver_is_refused() {
        let url = "mysql://u:secret@h/n".into();
        let settings = DatabaseSettings { url, ..DatabaseSettings::default() };
        let error = open("a-svc", &settings, Durability::EveryCommit).expect_err("no driver");
        assert!(error.to_string().contains("no driver for the database mysql://h/n; set"));
    }
}
