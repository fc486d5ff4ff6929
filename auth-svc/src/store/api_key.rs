//! API keys.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mainstay::kernel::database::Transaction;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::entity::api_key::{Column, Entity, Model};
use super::{DatabaseStore, account, micros, session, stored_time};
use crate::domain::{
    ApiKey, ApiKeyId, ApiKeyStore, AuthError, Making, SessionId, TokenDigest, UserId,
};

#[async_trait]
impl ApiKeyStore for DatabaseStore {
    async fn api_key_create(
        &self,
        key: &ApiKey,
        secret: TokenDigest,
        session: SessionId,
        most: u32,
    ) -> Result<Making, AuthError> {
        let transaction = self.database.begin().await?;
        let db = transaction.connection();
        // Locks the account: nobody closes it, or adds another key, before this transaction ends.
        if !account::lock(db, key.user_id).await? {
            return Ok(Making::NoSession);
        }
        let now = key.create_time;
        let session = session::session_read(db, session.into()).await?;
        let is_own = |session: &crate::domain::Session| session.user_id == key.user_id;
        if !session.is_some_and(|session| is_own(&session) && session.is_live(now)) {
            return Ok(Making::NoSession);
        }
        let live = Entity::find().filter(of(key.user_id)).filter(is_live(now)).count(db).await?;
        if live >= u64::from(most) {
            return Ok(Making::TooMany);
        }
        let row = from_domain(key, secret).into_active_model();
        Entity::insert(row).exec_without_returning(db).await?;
        transaction.commit().await?;
        Ok(Making::Made)
    }

    async fn api_key_use(
        &self,
        secret: TokenDigest,
        now: DateTime<Utc>,
    ) -> Result<Option<ApiKey>, AuthError> {
        let transaction = self.database.begin().await?;
        let db = transaction.connection();
        let that = || Column::Digest.eq(secret.to_vec());
        let used = Entity::update_many()
            .col_expr(Column::UseTime, Expr::value(micros(now)))
            .filter(that())
            .filter(is_live(now))
            .exec(db)
            .await?;
        if used.rows_affected == 0 {
            return Ok(None);
        }
        let row = Entity::find().filter(that()).one(db).await?;
        transaction.commit().await?;
        row.map(into_domain).transpose()
    }

    async fn api_key_list(
        &self,
        user_id: UserId,
        after: Option<(DateTime<Utc>, ApiKeyId)>,
        limit: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<ApiKey>, AuthError> {
        let rows = Entity::find()
            .filter(of(user_id))
            .filter(is_live(now))
            .filter(Condition::all().add_option(after.map(older_than)))
            .order_by_desc(Column::CreateTime)
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(self.database.connection())
            .await?;
        rows.into_iter().map(into_domain).collect()
    }

    async fn api_key_end(
        &self,
        user_id: UserId,
        id: ApiKeyId,
        now: DateTime<Utc>,
    ) -> Result<bool, AuthError> {
        let transaction = self.database.begin().await?;
        let that = || of(user_id).add(Column::Id.eq(Uuid::from(id)));
        if Entity::find().filter(that()).one(transaction.connection()).await?.is_none() {
            return Ok(false);
        }
        end(&transaction, that(), now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn api_key_list_ended(&self, since: DateTime<Utc>) -> Result<Vec<ApiKeyId>, AuthError> {
        let rows = Entity::find()
            .filter(Column::EndTime.gte(micros(since)))
            .all(self.database.connection())
            .await?;
        Ok(rows.into_iter().map(|row| row.id.into()).collect())
    }

    async fn api_key_prune(&self, over_before: DateTime<Utc>) -> Result<u64, AuthError> {
        let before = micros(over_before);
        let over =
            Condition::any().add(Column::EndTime.lt(before)).add(Column::ExpireTime.lt(before));
        let forgotten = Entity::delete_many().filter(over).exec(self.database.connection()).await?;
        Ok(forgotten.rows_affected)
    }
}

/// Ends the keys of a user, whose account is closed. Their names go with it.
pub(super) async fn close(
    transaction: &Transaction,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    end(transaction, of(user_id), now).await?;
    Entity::update_many()
        .col_expr(Column::DisplayName, Expr::value(""))
        .filter(of(user_id))
        .exec(transaction.connection())
        .await?;
    Ok(())
}

async fn end(
    transaction: &Transaction,
    which: Condition,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(micros(now)))
        .filter(which.add(is_live(now)))
        .exec(transaction.connection())
        .await?;
    Ok(())
}

fn of(user_id: UserId) -> Condition {
    Condition::all().add(Column::AccountId.eq(Uuid::from(user_id)))
}

/// Neither ended nor expired.
fn is_live(now: DateTime<Utc>) -> Condition {
    Condition::all().add(Column::EndTime.is_null()).add(Column::ExpireTime.gt(micros(now)))
}

/// What follows a position in the order newest first; the id decides among equal times.
fn older_than((time, id): (DateTime<Utc>, ApiKeyId)) -> Condition {
    let time = micros(time);
    let same_time =
        Condition::all().add(Column::CreateTime.eq(time)).add(Column::Id.lt(Uuid::from(id)));
    Condition::any().add(Column::CreateTime.lt(time)).add(same_time)
}

fn into_domain(row: Model) -> Result<ApiKey, AuthError> {
    Ok(ApiKey {
        id: row.id.into(),
        user_id: row.account_id.into(),
        display_name: row.display_name,
        prefix: row.prefix,
        create_time: stored_time(row.create_time)?,
        expire_time: stored_time(row.expire_time)?,
        use_time: row.use_time.map(stored_time).transpose()?,
    })
}

fn from_domain(key: &ApiKey, secret: TokenDigest) -> Model {
    Model {
        id: key.id.into(),
        account_id: key.user_id.into(),
        digest: secret.to_vec(),
        display_name: key.display_name.clone(),
        prefix: key.prefix.clone(),
        create_time: micros(key.create_time),
        expire_time: micros(key.expire_time),
        use_time: key.use_time.map(micros),
        end_time: None,
    }
}
