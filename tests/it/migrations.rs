//! Migrations: together or not at all, once among many processes, and never in the way of the
//! version before.

use mainstay::contract;
use mainstay::kernel::database::Database;
use sea_orm::sea_query::{ColumnDef, Expr, ExprTrait as _, Query, Table};
use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::world::{CreateNotes, Notes, World, note, notes};

/// How many processes start at the same moment.
const STARTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_start_at_once() {
    let world = World::new();
    let settings = world.database_settings("identity-svc");
    let starts = (0..STARTS).map(|_| {
        let settings = settings.clone();
        tokio::spawn(async move {
            let database = Database::open("identity-svc", &settings)?;
            database.migrate(second_version()).await
        })
    });
    for start in futures::future::join_all(starts).await {
        start.unwrap().unwrap();
    }
    let database = world.database("identity-svc").await;
    assert_eq!(times_applied(&database, "test_0001_create_notes").await, 1);
}

#[tokio::test]
async fn a_migration_that_fails_is_named_and_leaves_nothing_behind() {
    let world = World::new();
    let settings = world.database_settings("identity-svc");
    let database = Database::open("identity-svc", &settings).unwrap();

    let broken = database.migrate(vec![Box::new(CreateNotes), Box::new(Broken)]).await;
    let text = format!("{:#}", broken.unwrap_err());
    for part in
        ["cannot migrate the database", "test_0003_broken", "on fire", "nothing was changed"]
    {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    // The table of the migration before it would be in the way if it had stayed.
    database.migrate(first_version()).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_migrations_is_told_the_first_that_is_missing() {
    let world = World::new();
    let database = Database::open("a", &world.database_settings("a")).unwrap();
    let missing = database.pending(&second_version()).await.unwrap().expect("nothing is applied");
    assert!(missing.starts_with("kernel_"), "the kernel's come first: {missing}");
    database.migrate(first_version()).await.unwrap();
    assert_eq!(database.pending(&first_version()).await.unwrap(), None);
    let missing = database.pending(&second_version()).await.unwrap();
    assert_eq!(missing.as_deref(), Some("test_0002_add_body"));
    database.migrate(second_version()).await.unwrap();
    assert_eq!(database.pending(&second_version()).await.unwrap(), None);
    assert_eq!(database.pending(&first_version()).await.unwrap(), None, "a newer one is no fault");
}

#[tokio::test]
async fn two_migrations_of_one_name_are_refused() {
    let world = World::new();
    let database = Database::open("a", &world.database_settings("a")).unwrap();
    let twice = database.migrate(vec![Box::new(CreateNotes), Box::new(CreateNotes)]).await;
    let text = format!("{:#}", twice.unwrap_err());
    assert!(text.contains("two migrations are named test_0001_create_notes"), "{text}");
}

#[tokio::test]
async fn a_version_goes_on_and_starts_again_when_the_next_one_has_migrated() {
    let world = World::new();
    let old = open(&world, first_version()).await;
    write(&old, "before").await;
    let new = open(&world, second_version()).await;
    write(&old, "the old one goes on").await;
    let restarted = open(&world, first_version()).await;
    write(&restarted, "the old one starts again").await;
    assert_eq!(notes(&new).await, ["before", "the old one goes on", "the old one starts again"]);
}

#[tokio::test]
async fn a_version_that_needs_what_was_taken_away_is_refused_and_the_one_after_it_starts() {
    let world = World::new();
    open(&world, third_version()).await;
    // It stopped using the column, so it starts although it does not know what took it away.
    open(&world, second_version()).await;

    let settings = world.database_settings("identity-svc");
    let first = Database::open("identity-svc", &settings).unwrap();
    let text = format!("{:#}", first.migrate(first_version()).await.unwrap_err());
    for part in ["test_0004_contract_0002_drop_text", "for versions that know test_0002_…"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn a_migration_that_contracts_nothing_known_is_refused() {
    let world = World::new();
    let database = Database::open("a", &world.database_settings("a")).unwrap();
    let migrations: Vec<Box<dyn MigrationTrait>> = vec![Box::new(CreateNotes), Box::new(DropText)];
    let text = format!("{:#}", database.migrate(migrations).await.unwrap_err());
    assert!(text.contains("none before it is named test_0002_…"), "{text}");
}

/// Writes the column `text`.
fn first_version() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(CreateNotes)]
}

/// Has the column `body` instead, and needs `text` no more.
fn second_version() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(CreateNotes), Box::new(AddBody)]
}

/// Takes `text` away.
fn third_version() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(CreateNotes), Box::new(AddBody), Box::new(DropText)]
}

async fn open(world: &World, migrations: Vec<Box<dyn MigrationTrait>>) -> Database {
    let settings = world.database_settings("identity-svc");
    let database = Database::open("identity-svc", &settings).unwrap();
    database.declare_events(contract::pool()).unwrap();
    database.migrate(migrations).await.unwrap();
    database
}

async fn write(database: &Database, text: &str) {
    let transaction = database.begin().await.unwrap();
    note(&transaction, text).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn times_applied(database: &Database, name: &str) -> usize {
    let query = Query::select()
        .column("version")
        .from("seaql_migrations")
        .and_where(Expr::col("version").eq(name))
        .take();
    database.connection().query_all(&query).await.unwrap().len()
}

struct AddBody;
struct DropText;
struct Broken;

impl MigrationName for AddBody {
    fn name(&self) -> &str {
        "test_0002_add_body"
    }
}

impl MigrationName for DropText {
    fn name(&self) -> &str {
        "test_0004_contract_0002_drop_text"
    }
}

impl MigrationName for Broken {
    fn name(&self) -> &str {
        "test_0003_broken"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddBody {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let body = ColumnDef::new("body").text().not_null().default("").take();
        manager.alter_table(Table::alter().table(Notes::Table).add_column(body).take()).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for DropText {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .alter_table(Table::alter().table(Notes::Table).drop_column(Notes::Text).take())
            .await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Broken {
    async fn up(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Custom("disk on fire".into()))
    }
}
