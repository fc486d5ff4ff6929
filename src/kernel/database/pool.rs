//! Opening a pool: what every connection is set to, and what to say when it cannot be opened.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::{DatabaseConnection, DbErr, SqlxSqliteConnector};

use super::WRITE_PATIENCE;
use crate::kernel::settings::DatabaseSettings;

/// When a commit reaches the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// `synchronous = FULL`: a commit that was answered survives a power cut. For state and events.
    EveryCommit,
    /// `synchronous = NORMAL`: the file stays sound, the last commits may be lost with the power.
    /// For what repeats itself, such as a consumer's position and its lease.
    Checkpoint,
}

/// A pool that connects when first used. Creates the folder of a SQLite file.
pub(crate) fn open(
    settings: &DatabaseSettings,
    durability: Durability,
) -> anyhow::Result<DatabaseConnection> {
    let url = settings.url.expose();
    create_folder(&sqlite_file(url)?)?;
    let options = SqliteConnectOptions::from_str(url)
        .with_context(|| {
            let location = location(url);
            format!("cannot use the database {location}; correct the setting database.url")
        })?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match durability {
            Durability::EveryCommit => SqliteSynchronous::Full,
            Durability::Checkpoint => SqliteSynchronous::Normal,
        })
        .busy_timeout(WRITE_PATIENCE)
        .foreign_keys(true)
        .disable_statement_logging();
    // Not by sea-orm's own `connect`, which asks for SQLite's version and so connects at once.
    let pool = SqlitePoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options);
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

/// Makes the first connection, or says why not and what to do.
pub(crate) async fn connect(connection: &DatabaseConnection, location: &str) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + WRITE_PATIENCE;
    loop {
        match connection.ping().await {
            Ok(()) => return Ok(()),
            // Turning a new file to WAL needs it alone, and SQLite does not wait for that by itself.
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => {
                let mend = mend(&error.to_string());
                return Err(error)
                    .with_context(|| format!("cannot open the database {location}; {mend}"));
            }
        }
    }
}

/// Whether another writer was in the way, by SQLite's own words for its codes 5 and 6.
pub(crate) fn is_busy(error: &DbErr) -> bool {
    let text = error.to_string();
    text.contains("database is locked") || text.contains("database table is locked")
}

/// The URL as it may be shown: no user name, no password, no parameters.
pub(crate) fn location(url: &str) -> String {
    let plain = url.split('?').next().unwrap_or(url);
    match (plain.split_once("://"), plain.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => plain.to_owned(),
    }
}

/// The file of a SQLite URL.
fn sqlite_file(url: &str) -> anyhow::Result<PathBuf> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        anyhow::bail!(
            "no driver for the database {}; set database.url to sqlite://FILE?mode=rwc",
            location(url)
        );
    };
    let path = rest.strip_prefix("//").unwrap_or(rest).split('?').next().unwrap_or_default();
    anyhow::ensure!(
        !path.is_empty() && path != ":memory:" && !rest.contains("mode=memory"),
        "the database {url} has no file, so each connection would see its own; \
         set database.url to sqlite://FILE?mode=rwc"
    );
    Ok(PathBuf::from(path))
}

fn create_folder(file: &Path) -> anyhow::Result<()> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).with_context(|| {
        let folder = folder.display();
        format!(
            "cannot create the folder {folder} of the database; make its parent writable by this \
             user or set database.url to a file elsewhere"
        )
    })
}

/// What to do about a failed connection, by the driver's words.
fn mend(error: &str) -> &'static str {
    const MENDS: [(&str, &str); 5] = [
        (
            "unable to open database file",
            "check that its folder exists and that this user may write there, and that the URL \
             ends in ?mode=rwc if the file is to be created",
        ),
        ("not a database", "the file is no SQLite database: move it away or restore a backup"),
        ("malformed", "the file is damaged: restore a backup"),
        ("readonly", "make the file and its folder writable by this user"),
        ("locked", "another process holds it: stop that process"),
    ];
    MENDS
        .iter()
        .find(|(words, _)| error.contains(words))
        .map_or("check the setting database.url and that the database runs", |(_, mend)| mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_location_carries_no_credentials() {
        for (url, shown) in [
            ("sqlite:///var/lib/a.db?mode=rwc", "sqlite:///var/lib/a.db"),
            ("postgres://user:p@ss@host:5432/name?sslmode=x", "postgres://host:5432/name"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(location(url), shown);
        }
    }

    #[test]
    fn a_database_without_a_file_is_refused() {
        for url in ["sqlite::memory:", "sqlite://a.db?mode=memory", "sqlite:", "postgres://h/n"] {
            assert!(sqlite_file(url).is_err(), "{url}");
        }
        let file = sqlite_file("sqlite:///var/lib/a.db?mode=rwc").expect("a file");
        assert_eq!(file, Path::new("/var/lib/a.db"));
    }
}
