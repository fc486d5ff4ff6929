//! The tables of billing. Migrations are only ever added.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_query::ColumnDef;

/// All migrations, oldest first.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(CreateTables), Box::new(CreatePlanChanges)]
}

struct CreateTables;

impl MigrationName for CreateTables {
    fn name(&self) -> &str {
        "billing_0001_create_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = |name: &'static str| ColumnDef::new(name).string().not_null().to_owned();
        let maybe_text = |name: &'static str| ColumnDef::new(name).string().to_owned();
        let time = |name: &'static str| {
            ColumnDef::new(name).timestamp_with_time_zone().not_null().to_owned()
        };
        let maybe_time =
            |name: &'static str| ColumnDef::new(name).timestamp_with_time_zone().to_owned();

        manager
            .create_table(
                Table::create()
                    .table("subscription")
                    .col(ColumnDef::new("id").uuid().not_null().primary_key())
                    .col(ColumnDef::new("user_id").uuid().not_null().unique_key())
                    .col(text("plan"))
                    .col(text("state"))
                    .col(maybe_text("pending_plan"))
                    .col(maybe_text("checkout_url"))
                    .col(maybe_text("checkout_reference"))
                    .col(text("provider"))
                    .col(maybe_text("provider_subscription"))
                    .col(maybe_text("provider_item"))
                    .col(maybe_time("provider_time"))
                    .col(maybe_time("period_end"))
                    .col(time("created"))
                    .col(time("updated"))
                    .col(ColumnDef::new("version").big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("subscription_by_provider_subscription")
                    .table("subscription")
                    .col("provider_subscription")
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("provider_report")
                    .col(ColumnDef::new("id").string().not_null().primary_key())
                    .col(text("kind"))
                    .col(time("received"))
                    .col(ColumnDef::new("applied").boolean().not_null())
                    .to_owned(),
            )
            .await
    }
}

/// The changes of plans, numbered, and the row that counts them.
struct CreatePlanChanges;

impl MigrationName for CreatePlanChanges {
    fn name(&self) -> &str {
        "billing_0002_create_plan_changes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreatePlanChanges {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let changes = Table::create()
            .table("plan_change")
            .col(ColumnDef::new("revision").big_integer().not_null().primary_key())
            .col(ColumnDef::new("user_id").uuid().not_null())
            .col(ColumnDef::new("plan").string().not_null())
            .col(ColumnDef::new("time").timestamp_with_time_zone().not_null())
            .to_owned();
        let revision = Table::create()
            .table("plan_revision")
            .col(ColumnDef::new("id").integer().not_null().primary_key())
            .col(ColumnDef::new("value").big_integer().not_null())
            .to_owned();
        let first = Query::insert()
            .into_table("plan_revision")
            .columns(["id", "value"])
            .values([Expr::value(super::row::plan_revision::ROW), Expr::value(1_i64)])
            .map_err(|error| DbErr::Custom(error.to_string()))?
            .to_owned();
        manager.create_table(changes).await?;
        manager.create_table(revision).await?;
        manager.get_connection().execute(&first).await?;
        Ok(())
    }
}
