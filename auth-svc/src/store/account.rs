//! Accounts.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mainstay::kernel::database::Transaction;
use mainstay::kernel::saga::{NewSaga, Progress, Sagas};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, Condition, DbErr, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    SqlErr,
};
use uuid::Uuid;

use super::entity::account::{Column, Entity, Model};
use super::entity::account_role;
use super::{DatabaseStore, api_key, end, grants, micros, stored_time};
use crate::domain::{
    Account, AccountStore, AuthError, AuthEvent, Email, EndReason, Grants, PasswordHash, Plan,
    REGISTRATION, Registration, SessionId, UserId,
};
use crate::events::published;

#[async_trait]
impl AccountStore for DatabaseStore {
    async fn account_create(&self, account: &Account, roles: &[&str]) -> Result<(), AuthError> {
        let transaction = self.database.begin().await?;
        let row = from_domain(account).into_active_model();
        Entity::insert(row)
            .exec_without_returning(transaction.connection())
            .await
            .map_err(email_taken)?;
        let roles_rows = roles.iter().map(|role| {
            let (account_id, role) = (account.id.into(), (*role).to_owned());
            account_role::Model { account_id, role }.into_active_model()
        });
        account_role::Entity::insert_many(roles_rows)
            .exec_without_returning(transaction.connection())
            .await?;
        published::store(&transaction, &account.registered(roles)).await?;
        let registration = Registration::new(account.id, roles);
        let saga = NewSaga::new(REGISTRATION, account.id, registration)?;
        transaction.begin_saga(saga).await?;
        Ok(transaction.commit().await?)
    }

    async fn account_by_email(&self, email_key: &str) -> Result<Option<Account>, AuthError> {
        let open = Condition::all().add(Column::EmailKey.eq(email_key)).add(is_open());
        let row = Entity::find().filter(open).one(self.database.connection()).await?;
        row.map(into_domain).transpose()
    }

    async fn account_read(&self, id: UserId) -> Result<Option<Account>, AuthError> {
        let row = Entity::find_by_id(id).filter(is_open()).one(self.database.connection()).await?;
        row.map(into_domain).transpose()
    }

    async fn account_close(&self, id: UserId, now: DateTime<Utc>) -> Result<(), AuthError> {
        let transaction = self.database.begin().await?;
        if !close(&transaction, id, now).await? {
            return Ok(());
        }
        Ok(transaction.commit().await?)
    }

    async fn registration_withdraw(&self, id: UserId, now: DateTime<Utc>) -> Result<(), AuthError> {
        let transaction = self.database.begin().await?;
        close(&transaction, id, now).await?;
        let withdrawn = AuthEvent::RegistrationWithdrawn { user_id: id };
        published::store(&transaction, &withdrawn).await?;
        Ok(transaction.commit().await?)
    }

    async fn registration_wait(&self, id: UserId, patience: Duration) -> Result<(), AuthError> {
        let sagas = Sagas::new(self.database.clone());
        // Before its first step a saga stands at none.
        let has_tried =
            |progress: &Progress| !progress.step.is_empty() || progress.failing_since.is_some();
        sagas.wait(REGISTRATION, &id.to_string(), patience, has_tried).await?;
        Ok(())
    }

    async fn password_change(
        &self,
        id: UserId,
        previous: &PasswordHash,
        next: &PasswordHash,
        keep: Option<SessionId>,
        now: DateTime<Utc>,
    ) -> Result<bool, AuthError> {
        let transaction = self.database.begin().await?;
        if !password_replace(transaction.connection(), id, previous, next).await? {
            return Ok(false);
        }
        end::sessions_of(&transaction, id, keep, EndReason::PasswordChanged, now).await?;
        published::store(&transaction, &AuthEvent::PasswordChanged { user_id: id }).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn grants_read(&self, id: UserId) -> Result<Grants, AuthError> {
        grants::read(self.database.connection(), id).await
    }

    async fn role_add(&self, id: UserId, role: &str) -> Result<(), AuthError> {
        let transaction = self.database.begin().await?;
        grants::role_add(transaction.connection(), id, role).await?;
        Ok(transaction.commit().await?)
    }

    async fn role_remove(&self, id: UserId, role: &str) -> Result<(), AuthError> {
        let transaction = self.database.begin().await?;
        grants::role_remove(transaction.connection(), id, role).await?;
        Ok(transaction.commit().await?)
    }

    async fn plan_change(&self, id: UserId, plan: &Plan) -> Result<(), AuthError> {
        let transaction = self.database.begin().await?;
        grants::plan_change(transaction.connection(), id, plan).await?;
        Ok(transaction.commit().await?)
    }
}

/// Closes an open account and ends what hangs on it; `false` when there is none. What identifies a
/// person goes; that there was an account stays.
async fn close(
    transaction: &Transaction,
    id: UserId,
    now: DateTime<Utc>,
) -> Result<bool, AuthError> {
    let closed = Entity::update_many()
        .col_expr(Column::CloseTime, Expr::value(micros(now)))
        .col_expr(Column::Email, Expr::value(""))
        .col_expr(Column::EmailKey, Expr::value(""))
        .col_expr(Column::DisplayName, Expr::value(""))
        .col_expr(Column::PasswordHash, Expr::value(""))
        .filter(Column::Id.eq(Uuid::from(id)))
        .filter(is_open())
        .exec(transaction.connection())
        .await?;
    if closed.rows_affected == 0 {
        return Ok(false);
    }
    end::sessions_of(transaction, id, None, EndReason::UserDeleted, now).await?;
    api_key::close(transaction, id, now).await?;
    grants::forget(transaction.connection(), id).await?;
    Ok(true)
}

/// Replaces the password of an open account if it still is `previous`; also locks the account, so
/// that nobody closes it or changes its password before this transaction ends.
pub(super) async fn password_replace(
    connection: &impl sea_orm::ConnectionTrait,
    id: UserId,
    previous: &PasswordHash,
    next: &PasswordHash,
) -> Result<bool, AuthError> {
    let replaced = Entity::update_many()
        .col_expr(Column::PasswordHash, Expr::value(next.as_str()))
        .filter(Column::Id.eq(Uuid::from(id)))
        .filter(Column::PasswordHash.eq(previous.as_str()))
        .filter(is_open())
        .exec(connection)
        .await?;
    Ok(replaced.rows_affected > 0)
}

/// Locks an account until the transaction ends; `false` when it is not open.
pub(super) async fn lock(
    connection: &impl sea_orm::ConnectionTrait,
    id: UserId,
) -> Result<bool, AuthError> {
    let locked = Entity::update_many()
        .col_expr(Column::CloseTime, Expr::col(Column::CloseTime))
        .filter(Column::Id.eq(Uuid::from(id)))
        .filter(is_open())
        .exec(connection)
        .await?;
    Ok(locked.rows_affected > 0)
}

fn is_open() -> sea_orm::sea_query::SimpleExpr {
    Column::CloseTime.is_null()
}

fn email_taken(error: DbErr) -> AuthError {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => AuthError::EmailTaken,
        _ => error.into(),
    }
}

fn from_domain(account: &Account) -> Model {
    Model {
        id: account.id.into(),
        email: account.email.as_typed().to_owned(),
        email_key: account.email.key(),
        display_name: account.display_name.clone(),
        password_hash: account.password.as_str().to_owned(),
        create_time: micros(account.create_time),
        close_time: None,
    }
}

fn into_domain(row: Model) -> Result<Account, AuthError> {
    Ok(Account {
        id: row.id.into(),
        email: Email::parse(&row.email)?,
        display_name: row.display_name,
        password: PasswordHash::stored(row.password_hash),
        create_time: stored_time(row.create_time)?,
    })
}
