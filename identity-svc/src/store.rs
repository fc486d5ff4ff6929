//! Users in the service's own database. Implements the port of the domain with sea-orm.

mod entity;
mod migration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mainstay::contract::identity::UserId;
use mainstay::kernel::Error;
use mainstay::kernel::database::Database;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, DbErr, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Select,
};
use uuid::Uuid;

use crate::domain::{User, UserError, UserEvent, UserFilter, UserStore};
use crate::events::published;
use entity::{Column, Entity};
pub use migration::migrations;

/// [`UserStore`] over the service's database.
#[derive(Clone)]
pub struct DatabaseUserStore {
    database: Database,
}

impl DatabaseUserStore {
    /// A store in this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl UserStore for DatabaseUserStore {
    async fn user_create(&self, user: &User, event: &UserEvent) -> Result<User, UserError> {
        let transaction = self.database.begin().await?;
        let row = entity::from_domain(user).into_active_model();
        // The event and the call of one registration may arrive together: who comes second adds
        // nothing. No index is named, for then PostgreSQL would refuse the second by the address,
        // and the registration would be taken back.
        let once = OnConflict::new().do_nothing().to_owned();
        let added = Entity::insert(row)
            .on_conflict(once)
            .exec_without_returning(transaction.connection())
            .await?;
        if added == 0 {
            let row = Entity::find_by_id(user.id).one(transaction.connection()).await?;
            return entity::into_domain(row.ok_or(UserError::EmailTaken)?);
        }
        published::store(&transaction, event).await?;
        transaction.commit().await?;
        Ok(user.clone())
    }

    async fn user_read(&self, id: UserId) -> Result<Option<User>, UserError> {
        let row = Entity::find_by_id(id).one(self.database.connection()).await?;
        row.map(entity::into_domain).transpose()
    }

    async fn user_update(
        &self,
        user: &User,
        previous_version: u64,
        event: &UserEvent,
    ) -> Result<bool, UserError> {
        let transaction = self.database.begin().await?;
        let updated = Entity::update_many()
            .set(entity::from_domain(user).into_active_model().reset_all())
            .filter(Column::Id.eq(Uuid::from(user.id)))
            .filter(Column::Version.eq(entity::stored_version(previous_version)))
            .exec(transaction.connection())
            .await?;
        if updated.rows_affected == 0 {
            return Ok(false);
        }
        published::store(&transaction, event).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn user_list(
        &self,
        filter: &UserFilter,
        after: Option<(DateTime<Utc>, UserId)>,
        limit: u64,
    ) -> Result<Vec<User>, UserError> {
        let rows = filtered(filter)
            .filter(Condition::all().add_option(after.map(older_than)))
            .order_by_desc(Column::CreateTime)
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(self.database.connection())
            .await?;
        rows.into_iter().map(entity::into_domain).collect()
    }

    async fn user_count(&self, filter: &UserFilter) -> Result<u64, UserError> {
        Ok(filtered(filter).count(self.database.connection()).await?)
    }
}

fn filtered(filter: &UserFilter) -> Select<Entity> {
    let mut condition = Condition::all();
    if let Some(key) = &filter.email_key {
        condition = condition.add(Column::EmailKey.eq(key));
    }
    if !filter.show_deleted {
        condition = condition.add(Column::DeleteTime.is_null());
    }
    Entity::find().filter(condition)
}

/// What follows a position in the order newest first; the id decides among equal times.
fn older_than((time, id): (DateTime<Utc>, UserId)) -> Condition {
    let time = time.timestamp_micros();
    let same_time =
        Condition::all().add(Column::CreateTime.eq(time)).add(Column::Id.lt(Uuid::from(id)));
    Condition::any().add(Column::CreateTime.lt(time)).add(same_time)
}

impl From<DbErr> for UserError {
    fn from(error: DbErr) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for UserError {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}
