//! SQLite: one file, one writer at a time.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::Context as _;
use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::{DatabaseConnection, SqlxSqliteConnector};

use super::WRITE_PATIENCE;
use super::pool::{Durability, location};
use crate::kernel::settings::DatabaseSettings;

/// A pool on the file of the URL. Creates its folder.
pub(super) fn open(
    settings: &DatabaseSettings,
    durability: Durability,
) -> anyhow::Result<DatabaseConnection> {
    let url = settings.url.expose();
    create_folder(&file(url)?)?;
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

/// What to do about a failed connection, by the driver's words.
pub(super) fn mend(error: &str) -> &'static str {
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
        .map_or("check the setting database.url", |(_, mend)| mend)
}

/// The file of a SQLite URL.
fn file(url: &str) -> anyhow::Result<PathBuf> {
    let rest = url.strip_prefix("sqlite:").unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_without_a_file_is_refused() {
        for url in ["sqlite::memory:", "sqlite://a.db?mode=memory", "sqlite:"] {
            assert!(file(url).is_err(), "{url}");
        }
        let file = file("sqlite:///var/lib/a.db?mode=rwc").expect("a file");
        assert_eq!(file, Path::new("/var/lib/a.db"));
    }
}
