//! The tables, built up step by step. A step that was released is never changed.

use sea_orm::DbErr;
use sea_orm::sea_query::ColumnDef;
use sea_orm_migration::prelude::*;

/// The steps in order.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(CreateAccounts),
        Box::new(CreateSessions),
        Box::new(CreateSigningKeys),
        Box::new(CreateApiKeys),
    ]
}

struct CreateAccounts;
struct CreateSessions;
struct CreateSigningKeys;
struct CreateApiKeys;

impl MigrationName for CreateAccounts {
    fn name(&self) -> &str {
        "auth_0001_create_accounts"
    }
}

impl MigrationName for CreateSessions {
    fn name(&self) -> &str {
        "auth_0002_create_sessions"
    }
}

impl MigrationName for CreateSigningKeys {
    fn name(&self) -> &str {
        "auth_0003_create_signing_keys"
    }
}

impl MigrationName for CreateApiKeys {
    fn name(&self) -> &str {
        "auth_0004_create_api_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateAccounts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(account()).await?;
        manager.create_index(email_unique_while_open()).await?;
        manager.create_table(account_role()).await?;
        manager.create_table(account_plan()).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSessions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(session()).await?;
        manager.create_table(refresh_token()).await?;
        for index in session_indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSigningKeys {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(signing_key()).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateApiKeys {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(api_key()).await?;
        for index in api_key_indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

fn account() -> TableCreateStatement {
    Table::create()
        .table("account")
        .col(uuid("id").primary_key())
        .col(text("email"))
        .col(text("email_key"))
        .col(text("display_name"))
        .col(text("password_hash"))
        .col(number("create_time"))
        .col(ColumnDef::new("close_time").big_integer())
        .to_owned()
}

/// An address is free again once its account is closed.
fn email_unique_while_open() -> IndexCreateStatement {
    Index::create()
        .name("account_email_unique")
        .table("account")
        .col("email_key")
        .unique()
        .and_where(Expr::col("close_time").is_null())
        .to_owned()
}

fn account_role() -> TableCreateStatement {
    Table::create()
        .table("account_role")
        .col(uuid("account_id"))
        .col(text("role"))
        .primary_key(Index::create().col("account_id").col("role"))
        .to_owned()
}

fn account_plan() -> TableCreateStatement {
    Table::create()
        .table("account_plan")
        .col(uuid("account_id").primary_key())
        .col(text("plan"))
        .col(text("subscription_id"))
        .col(number("version"))
        .to_owned()
}

fn session() -> TableCreateStatement {
    Table::create()
        .table("session")
        .col(uuid("id").primary_key())
        .col(uuid("account_id"))
        .col(number("create_time"))
        .col(number("refresh_time"))
        .col(number("expire_time"))
        .col(ColumnDef::new("end_time").big_integer())
        .to_owned()
}

fn refresh_token() -> TableCreateStatement {
    Table::create()
        .table("refresh_token")
        .col(ColumnDef::new("digest").binary_len(32).not_null().primary_key())
        .col(uuid("session_id"))
        .col(number("create_time"))
        .col(ColumnDef::new("use_time").big_integer())
        .to_owned()
}

/// For a user's list, for revocations, for pruning, and for the tokens of a session.
fn session_indexes() -> [IndexCreateStatement; 4] {
    [
        index("session_of_account", "session", &["account_id", "create_time", "id"]),
        index("session_end", "session", &["end_time"]),
        index("session_expiry", "session", &["expire_time"]),
        index("refresh_token_of_session", "refresh_token", &["session_id"]),
    ]
}

fn api_key() -> TableCreateStatement {
    Table::create()
        .table("api_key")
        .col(uuid("id").primary_key())
        .col(uuid("account_id"))
        .col(ColumnDef::new("digest").binary_len(32).not_null().unique_key())
        .col(text("display_name"))
        .col(text("prefix"))
        .col(number("create_time"))
        .col(number("expire_time"))
        .col(ColumnDef::new("use_time").big_integer())
        .col(ColumnDef::new("end_time").big_integer())
        .to_owned()
}

/// For a user's list, for revocations, and for pruning.
fn api_key_indexes() -> [IndexCreateStatement; 3] {
    [
        index("api_key_of_account", "api_key", &["account_id", "create_time", "id"]),
        index("api_key_end", "api_key", &["end_time"]),
        index("api_key_expiry", "api_key", &["expire_time"]),
    ]
}

fn index(
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
) -> IndexCreateStatement {
    let mut index = Index::create().name(name).table(table).to_owned();
    for column in columns {
        index.col(*column);
    }
    index
}

/// The generation is the key: of two replicas that add the next key, one finds it taken.
fn signing_key() -> TableCreateStatement {
    Table::create()
        .table("signing_key")
        .col(ColumnDef::new("generation").big_integer().not_null().primary_key())
        .col(text("kid"))
        .col(ColumnDef::new("private_key").blob().not_null())
        .col(ColumnDef::new("sealed").boolean().not_null())
        .col(number("create_time"))
        .col(number("activate_time"))
        .to_owned()
}

fn uuid(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).uuid().not_null().to_owned()
}

fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().to_owned()
}

fn number(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().to_owned()
}
