//! Applying migrations: all that are pending in one transaction that excludes other processes.
//!
//! Structure is transactional on SQLite and PostgreSQL, so a migration that fails, or a process
//! that dies half-way, leaves the database as it was. On SQLite the transaction takes the file's
//! write lock, so of two processes that start at once the second waits and then finds nothing to do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait as _};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTraitSelf, SchemaManager};

use super::{is_busy, write_options};

/// How long to wait for another process that migrates.
const PATIENCE: Duration = Duration::from_secs(120);

/// Applies what is pending of `migrations`, in their order.
pub(crate) async fn apply(
    connection: &DatabaseConnection,
    migrations: Vec<Box<dyn MigrationTrait>>,
) -> anyhow::Result<()> {
    let migrator = Migrator::new(migrations)?;
    let transaction = begin_exclusively(connection).await?;
    migrator.refuse_newer(&transaction).await?;
    migrator
        .up(&transaction, None)
        .await
        .context("nothing was changed; correct the migration and start again")?;
    transaction.commit().await.context("nothing was changed; start again")
}

async fn begin_exclusively(connection: &DatabaseConnection) -> anyhow::Result<DatabaseTransaction> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match connection.begin_with_options(write_options()).await {
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < deadline => {
                tracing::info!("waiting for another process that migrates the database");
            }
            Err(error) if is_busy(&error) => {
                return Err(error).context("another process has held the database for 120 s");
            }
            other => return Ok(other?),
        }
    }
}

/// A list of migrations as the migration library wants it.
struct Migrator(Vec<Arc<dyn MigrationTrait>>);

impl Migrator {
    fn new(migrations: Vec<Box<dyn MigrationTrait>>) -> anyhow::Result<Self> {
        let mut names = HashSet::new();
        for migration in &migrations {
            let name = migration.name();
            anyhow::ensure!(
                names.insert(name.to_owned()),
                "two migrations are named {name}; give one of them another name"
            );
        }
        Ok(Self(migrations.into_iter().map(Arc::from).collect()))
    }

    async fn refuse_newer(&self, transaction: &DatabaseTransaction) -> anyhow::Result<()> {
        let known: HashSet<&str> = self.0.iter().map(|migration| migration.name()).collect();
        let applied = self.get_migration_models(transaction).await?;
        let unknown: Vec<_> = applied
            .iter()
            .map(|row| row.version.as_str())
            .filter(|name| !known.contains(name))
            .collect();
        anyhow::ensure!(
            unknown.is_empty(),
            "a newer version has migrated it ({}); start that version or restore a backup",
            unknown.join(", ")
        );
        Ok(())
    }
}

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        self.0.iter().map(|migration| Box::new(Named(migration.clone())) as _).collect()
    }
}

/// A migration whose failure names it.
struct Named(Arc<dyn MigrationTrait>);

impl MigrationName for Named {
    fn name(&self) -> &str {
        self.0.name()
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Named {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let failed = |error| DbErr::Migration(format!("migration {} failed: {error}", self.name()));
        self.0.up(manager).await.map_err(failed)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.0.down(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        self.0.use_transaction()
    }
}
