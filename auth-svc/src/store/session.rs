//! Sessions and their refresh tokens.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::entity::refresh_token;
use super::entity::session::{Column, Entity, Model};
use super::{DatabaseStore, account, end, micros, stored_time};
use crate::domain::{
    AuthError, EndReason, PasswordHash, Rotation, Session, SessionId, SessionLife, SessionStore,
    TokenDigest, UserId,
};
use crate::events::published;

#[async_trait]
impl SessionStore for DatabaseStore {
    async fn session_create(
        &self,
        session: &Session,
        first: TokenDigest,
        verified: &PasswordHash,
        next: &PasswordHash,
    ) -> Result<bool, AuthError> {
        let transaction = self.database.begin().await?;
        let db = transaction.connection();
        if !account::password_replace(db, session.user_id, verified, next).await? {
            return Ok(false);
        }
        Entity::insert(from_domain(session).into_active_model()).exec_without_returning(db).await?;
        token_create(db, first, session).await?;
        published::store(&transaction, &session.started()).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn session_rotate(
        &self,
        used: TokenDigest,
        next: TokenDigest,
        life: SessionLife,
        now: DateTime<Utc>,
    ) -> Result<Rotation, AuthError> {
        let transaction = self.database.begin().await?;
        let db = transaction.connection();
        let first_use = token_use(db, used, now).await?;
        let Some(token) = token_read(db, used).await? else { return Ok(Rotation::Invalid) };
        if !first_use {
            end::session(&transaction, token.session_id, EndReason::TokenReuse, now).await?;
            transaction.commit().await?;
            return Ok(Rotation::Reused);
        }
        let Some(mut session) = session_read(db, token.session_id).await? else {
            return Ok(Rotation::Invalid);
        };
        if !session.is_live(now) {
            return Ok(Rotation::Invalid);
        }
        session.refresh(life, now);
        if !session_refresh(db, &session).await? {
            return Ok(Rotation::Invalid);
        }
        token_create(db, next, &session).await?;
        transaction.commit().await?;
        Ok(Rotation::Rotated(session))
    }

    async fn session_end_by_token(
        &self,
        token: TokenDigest,
        reason: EndReason,
        now: DateTime<Utc>,
    ) -> Result<(), AuthError> {
        let transaction = self.database.begin().await?;
        let Some(token) = token_read(transaction.connection(), token).await? else {
            return Ok(());
        };
        end::session(&transaction, token.session_id, reason, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn session_end(
        &self,
        user_id: UserId,
        session_id: SessionId,
        reason: EndReason,
        now: DateTime<Utc>,
    ) -> Result<bool, AuthError> {
        let transaction = self.database.begin().await?;
        let session = session_read(transaction.connection(), session_id.into()).await?;
        if session.is_none_or(|session| session.user_id != user_id) {
            return Ok(false);
        }
        end::session(&transaction, session_id.into(), reason, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn session_list(
        &self,
        user_id: UserId,
        after: Option<(DateTime<Utc>, SessionId)>,
        limit: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<Session>, AuthError> {
        let rows = Entity::find()
            .filter(Column::AccountId.eq(Uuid::from(user_id)))
            .filter(is_live(now))
            .filter(Condition::all().add_option(after.map(older_than)))
            .order_by_desc(Column::CreateTime)
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(self.database.connection())
            .await?;
        rows.into_iter().map(into_domain).collect()
    }

    async fn session_list_ended(&self, since: DateTime<Utc>) -> Result<Vec<SessionId>, AuthError> {
        let rows = Entity::find()
            .filter(Column::EndTime.gte(micros(since)))
            .all(self.database.connection())
            .await?;
        Ok(rows.into_iter().map(|row| row.id.into()).collect())
    }

    async fn session_prune(&self, over_before: DateTime<Utc>) -> Result<u64, AuthError> {
        let before = micros(over_before);
        let over =
            Condition::any().add(Column::EndTime.lt(before)).add(Column::ExpireTime.lt(before));
        let ids =
            Query::select().column(Column::Id).from(Entity).cond_where(over.clone()).to_owned();
        let transaction = self.database.begin().await?;
        refresh_token::Entity::delete_many()
            .filter(refresh_token::Column::SessionId.in_subquery(ids))
            .exec(transaction.connection())
            .await?;
        let forgotten = Entity::delete_many().filter(over).exec(transaction.connection()).await?;
        transaction.commit().await?;
        Ok(forgotten.rows_affected)
    }
}

/// Neither ended nor expired.
pub(super) fn is_live(now: DateTime<Utc>) -> Condition {
    Condition::all().add(Column::EndTime.is_null()).add(Column::ExpireTime.gt(micros(now)))
}

pub(super) fn into_domain(row: Model) -> Result<Session, AuthError> {
    Ok(Session {
        id: row.id.into(),
        user_id: row.account_id.into(),
        create_time: stored_time(row.create_time)?,
        refresh_time: stored_time(row.refresh_time)?,
        expire_time: stored_time(row.expire_time)?,
        end_time: row.end_time.map(stored_time).transpose()?,
    })
}

fn from_domain(session: &Session) -> Model {
    Model {
        id: session.id.into(),
        account_id: session.user_id.into(),
        create_time: micros(session.create_time),
        refresh_time: micros(session.refresh_time),
        expire_time: micros(session.expire_time),
        end_time: session.end_time.map(micros),
    }
}

/// What follows a position in the order newest first; the id decides among equal times.
fn older_than((time, id): (DateTime<Utc>, SessionId)) -> Condition {
    let time = micros(time);
    let same_time =
        Condition::all().add(Column::CreateTime.eq(time)).add(Column::Id.lt(Uuid::from(id)));
    Condition::any().add(Column::CreateTime.lt(time)).add(same_time)
}

pub(super) async fn session_read(
    db: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<Session>, AuthError> {
    Entity::find_by_id(id).one(db).await?.map(into_domain).transpose()
}

/// Stores a refresh; `false` when somebody has ended the session in the meantime.
async fn session_refresh(db: &impl ConnectionTrait, session: &Session) -> Result<bool, AuthError> {
    let refreshed = Entity::update_many()
        .col_expr(Column::RefreshTime, Expr::value(micros(session.refresh_time)))
        .col_expr(Column::ExpireTime, Expr::value(micros(session.expire_time)))
        .filter(Column::Id.eq(Uuid::from(session.id)))
        .filter(Column::EndTime.is_null())
        .exec(db)
        .await?;
    Ok(refreshed.rows_affected > 0)
}

async fn token_create(
    db: &impl ConnectionTrait,
    digest: TokenDigest,
    session: &Session,
) -> Result<(), AuthError> {
    let row = refresh_token::Model {
        digest: digest.to_vec(),
        session_id: session.id.into(),
        create_time: micros(session.refresh_time),
        use_time: None,
    };
    refresh_token::Entity::insert(row.into_active_model()).exec_without_returning(db).await?;
    Ok(())
}

async fn token_read(
    db: &impl ConnectionTrait,
    digest: TokenDigest,
) -> Result<Option<refresh_token::Model>, AuthError> {
    Ok(refresh_token::Entity::find_by_id(digest.to_vec()).one(db).await?)
}

/// Marks a token as used; `false` when it was before, or is unknown. Of two that use it at the same
/// time one finds it used.
async fn token_use(
    db: &impl ConnectionTrait,
    digest: TokenDigest,
    now: DateTime<Utc>,
) -> Result<bool, AuthError> {
    let used = refresh_token::Entity::update_many()
        .col_expr(refresh_token::Column::UseTime, Expr::value(micros(now)))
        .filter(refresh_token::Column::Digest.eq(digest.to_vec()))
        .filter(refresh_token::Column::UseTime.is_null())
        .exec(db)
        .await?;
    Ok(used.rows_affected > 0)
}
