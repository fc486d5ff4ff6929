//! Applying migrations: all that are pending in one transaction that excludes other processes.
//!
//! Structure is transactional on SQLite and PostgreSQL, so a migration that fails, or a process
//! that dies half-way, leaves the database as it was. Of processes that start at once one migrates;
//! the others wait and then find nothing to do. On SQLite the transaction takes the file's write
//! lock, on PostgreSQL an advisory lock of the schema.
//!
//! **Expand, then contract.** A migration expands: whoever does not know it works on as before. So a
//! process of the version before goes on, and may start, when a newer one has migrated. A migration
//! that takes something away says so by its name, `orders_0009_contract_0007_drop_note`: only a
//! process that knows `orders_0007_…`, with which its version stopped using it, may start then.
//! `docs/migrations.md` shows the steps.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, EntityName as _,
    EntityTrait as _, IntoActiveModel as _, TransactionTrait as _,
};
use sea_orm_migration::{MigrationTrait, SchemaManager, seaql_migrations as record};

use super::failure::is_postgres;
use super::{is_busy, write_options};
use crate::kernel::events::now_micros;

/// How long to wait for another process that migrates.
const PATIENCE: Duration = Duration::from_secs(120);

/// What stands in the name of a migration that takes something away.
const CONTRACT: &str = "_contract_";

/// Applies what is pending of `migrations`, in their order.
pub(crate) async fn apply(
    connection: &DatabaseConnection,
    migrations: Vec<Box<dyn MigrationTrait>>,
) -> anyhow::Result<()> {
    let names = names(&migrations)?;
    let transaction = begin_exclusively(connection).await?;
    let applied = applied(&transaction).await?;
    refuse_contracted(&applied, &names)?;
    for migration in migrations.iter().filter(|it| !applied.iter().any(|name| name == it.name())) {
        migrate(&transaction, &**migration).await.with_context(|| {
            let name = migration.name();
            format!(
                "nothing was changed; correct the migration and start again: migration {name} failed"
            )
        })?;
    }
    transaction.commit().await.context("nothing was changed; start again")
}

/// The first of these migrations that has not run, without waiting for one that is under way.
pub(super) async fn pending<'a>(
    connection: &DatabaseConnection,
    mut names: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Option<String>> {
    let table = record::Entity.table_name();
    let rows = match SchemaManager::new(connection).has_table(table).await? {
        true => record::Entity::find().all(connection).await?,
        false => Vec::new(),
    };
    Ok(names.find(|name| rows.iter().all(|row| row.version != *name)).map(str::to_owned))
}

async fn begin_exclusively(connection: &DatabaseConnection) -> anyhow::Result<DatabaseTransaction> {
    if is_postgres(connection) {
        return lock_schema(connection).await;
    }
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

/// The lock goes with the transaction, so a process that dies leaves none behind. A migration may
/// take as long as it needs, but waits for a table no longer than a call would: all calls that come
/// after it would wait as well.
async fn lock_schema(connection: &DatabaseConnection) -> anyhow::Result<DatabaseTransaction> {
    let transaction = connection.begin().await?;
    let millis = PATIENCE.as_millis();
    let lock = format!(
        "SET LOCAL statement_timeout TO 0; SET LOCAL lock_timeout TO {millis}; \
         SELECT pg_advisory_xact_lock(hashtextextended('mainstay migrations ' || current_schema(), 0)); \
         SET LOCAL lock_timeout TO DEFAULT"
    );
    transaction
        .execute_unprepared(&lock)
        .await
        .context("another process has been migrating the schema for 120 s")?;
    Ok(transaction)
}

/// Runs one migration and notes that it ran.
async fn migrate(
    transaction: &DatabaseTransaction,
    migration: &dyn MigrationTrait,
) -> anyhow::Result<()> {
    migration.up(&SchemaManager::new(transaction)).await?;
    let row = record::Model {
        version: migration.name().to_owned(),
        applied_at: now_micros() / 1_000_000,
    };
    record::Entity::insert(row.into_active_model()).exec_without_returning(transaction).await?;
    Ok(())
}

/// The names of the migrations that ran. Creates the table that notes them.
async fn applied(transaction: &DatabaseTransaction) -> anyhow::Result<Vec<String>> {
    let schema = sea_orm::Schema::new(transaction.get_database_backend());
    let mut table = schema.create_table_from_entity(record::Entity);
    transaction.execute(table.if_not_exists()).await?;
    let rows = record::Entity::find().all(transaction).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// Refuses what a newer version took away while this one still needs it.
fn refuse_contracted(applied: &[String], known: &HashSet<&str>) -> anyhow::Result<()> {
    let unknown = applied.iter().filter(|name| !known.contains(name.as_str()));
    for name in unknown {
        let Some(needed) = contracts(name) else {
            tracing::info!(migration = name, "a newer version has migrated the database");
            continue;
        };
        anyhow::ensure!(
            known.iter().any(|name| name.starts_with(&needed)),
            "a newer version has taken away what this one needs ({name}, for versions that know \
             {needed}…); start that version or restore a backup"
        );
    }
    Ok(())
}

/// The names, each of them once; and one that contracts names a migration before it.
fn names(migrations: &[Box<dyn MigrationTrait>]) -> anyhow::Result<HashSet<&str>> {
    let mut names = HashSet::new();
    for name in migrations.iter().map(|migration| migration.name()) {
        if let Some(needed) = contracts(name) {
            anyhow::ensure!(
                names.iter().any(|earlier: &&str| earlier.starts_with(&needed)),
                "migration {name} contracts, and none before it is named {needed}…; name the one \
                 with which the service stopped using what it takes away"
            );
        }
        anyhow::ensure!(
            names.insert(name),
            "two migrations are named {name}; give one of them another name"
        );
    }
    Ok(names)
}

/// What a contracting migration demands to be known: the beginning of a name, such as
/// `orders_0007_`. `None` for one that expands.
fn contracts(name: &str) -> Option<String> {
    let (own, rest) = name.split_once(CONTRACT)?;
    let (area, _number) = own.rsplit_once('_')?;
    let number = rest.split('_').next()?;
    Some(format!("{area}_{number}_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contracting_migration_names_what_must_be_known() {
        for (name, needed) in [
            ("orders_0009_contract_0007_drop_note", Some("orders_0007_")),
            ("big_orders_0009_contract_0007_drop_note", Some("big_orders_0007_")),
            ("orders_0009_add_contract", None),
            ("orders_0009_add_note", None),
        ] {
            assert_eq!(contracts(name).as_deref(), needed, "{name}");
        }
    }
}
