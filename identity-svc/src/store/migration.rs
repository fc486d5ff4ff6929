//! The tables, built up step by step. A step that was released is never changed.

use sea_orm::DbErr;
use sea_orm_migration::prelude::*;

/// The steps in order.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(CreateUserAccount)]
}

/// The table of users. It is not named `user`, a reserved word in PostgreSQL.
struct CreateUserAccount;

impl MigrationName for CreateUserAccount {
    fn name(&self) -> &str {
        "identity_0001_create_user_account"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateUserAccount {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(user_account()).await?;
        manager.create_index(email_unique_while_not_deleted()).await?;
        manager.create_index(email_of_all()).await?;
        manager.create_index(newest_first()).await
    }
}

#[derive(DeriveIden)]
enum UserAccount {
    Table,
    Id,
    Email,
    EmailKey,
    DisplayName,
    Locale,
    TimeZone,
    AvatarUrl,
    Bio,
    Version,
    CreateTime,
    UpdateTime,
    DeleteTime,
}

fn user_account() -> TableCreateStatement {
    let text = |column| ColumnDef::new(column).text().not_null().to_owned();
    let number = |column| ColumnDef::new(column).big_integer().not_null().to_owned();
    Table::create()
        .table(UserAccount::Table)
        .col(ColumnDef::new(UserAccount::Id).uuid().not_null().primary_key())
        .col(text(UserAccount::Email))
        .col(text(UserAccount::EmailKey))
        .col(text(UserAccount::DisplayName))
        .col(text(UserAccount::Locale))
        .col(text(UserAccount::TimeZone))
        .col(text(UserAccount::AvatarUrl))
        .col(text(UserAccount::Bio))
        .col(number(UserAccount::Version))
        .col(number(UserAccount::CreateTime))
        .col(number(UserAccount::UpdateTime))
        .col(ColumnDef::new(UserAccount::DeleteTime).big_integer())
        .to_owned()
}

/// An address is free again once its user is deleted.
fn email_unique_while_not_deleted() -> IndexCreateStatement {
    Index::create()
        .name("user_account_email_unique")
        .table(UserAccount::Table)
        .col(UserAccount::EmailKey)
        .unique()
        .and_where(Expr::col(UserAccount::DeleteTime).is_null())
        .to_owned()
}

/// For lists by address that show deleted users too.
fn email_of_all() -> IndexCreateStatement {
    Index::create()
        .name("user_account_email")
        .table(UserAccount::Table)
        .col(UserAccount::EmailKey)
        .to_owned()
}

/// For lists, newest first.
fn newest_first() -> IndexCreateStatement {
    Index::create()
        .name("user_account_newest")
        .table(UserAccount::Table)
        .col(UserAccount::CreateTime)
        .col(UserAccount::Id)
        .to_owned()
}
