//! Signing keys.

use async_trait::async_trait;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _};

use super::entity::signing_key::{Column, Entity, Model};
use super::{DatabaseStore, micros, stored_time};
use crate::domain::{AuthError, KeyStore, SigningKey};

#[async_trait]
impl KeyStore for DatabaseStore {
    async fn key_list(&self) -> Result<Vec<SigningKey>, AuthError> {
        let rows = Entity::find().all(self.database.connection()).await?;
        rows.into_iter().map(|row| self.key_restore(row)).collect()
    }

    async fn key_create(&self, key: &SigningKey) -> Result<bool, AuthError> {
        let kid = key.kid();
        let (private_key, sealed) = self.sealer.seal(&kid, key.expose_pkcs8())?;
        let row = Model {
            generation: key.generation,
            kid,
            private_key,
            sealed,
            create_time: micros(key.create_time),
            activate_time: micros(key.activate_time),
        };
        let transaction = self.database.begin().await?;
        let added = Entity::insert(row.into_active_model())
            .on_conflict(OnConflict::column(Column::Generation).do_nothing().to_owned())
            .exec_without_returning(transaction.connection())
            .await?;
        transaction.commit().await?;
        Ok(added > 0)
    }

    async fn key_delete(&self, generations: &[i64]) -> Result<(), AuthError> {
        let transaction = self.database.begin().await?;
        Entity::delete_many()
            .filter(Column::Generation.is_in(generations.iter().copied()))
            .exec(transaction.connection())
            .await?;
        Ok(transaction.commit().await?)
    }
}

impl DatabaseStore {
    fn key_restore(&self, row: Model) -> Result<SigningKey, AuthError> {
        let pkcs8 = self.sealer.open(&row.kid, row.private_key, row.sealed)?;
        let (create_time, activate_time) =
            (stored_time(row.create_time)?, stored_time(row.activate_time)?);
        SigningKey::restore(row.generation, create_time, activate_time, pkcs8)
    }
}
