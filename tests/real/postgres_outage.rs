//! A PostgreSQL server of the story's own is killed under load and comes back: nothing that was
//! acknowledged is lost, and nobody has to restart a service.

use std::path::Path;
use std::time::{Duration, Instant};

use mainstay::contract;
use mainstay::kernel::Error;
use mainstay::kernel::database::Database;
use mainstay_testing::{Databases, within};
use tonic::Code;

use crate::servers::postgres::PrivatePostgres;
use crate::suite_relay::MemoryBus;
use crate::world::{CreateNotes, World, eventually, note, notes, updated};

/// How long a service may take to serve again after the server's return.
const RECOVERY: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_load_costs_nothing_that_was_acknowledged() {
    let world = World::new();
    let mut server = PrivatePostgres::start();
    let databases = Databases::on_postgres(&server.url());
    let settings = databases.settings("identity-svc", Path::new("unused"));
    let database = Database::open("identity-svc", &settings).unwrap();
    database.declare_events(contract::pool()).unwrap();
    database.migrate(vec![Box::new(CreateNotes)]).await.unwrap();
    let bus = MemoryBus::default();
    let _relay = world.relay(&database, bus.clone());

    let mut acknowledged = Vec::new();
    for number in 0..50 {
        write(&database, number).await.unwrap();
        acknowledged.push(number.to_string());
    }
    server.kill();
    for number in 50..53 {
        let error = write(&database, number).await.unwrap_err();
        assert_eq!(error.code().grpc, Code::Unavailable, "{error:?}");
    }
    server.launch();
    let begin = Instant::now();
    within(RECOVERY, "the service writes again", async || write(&database, 53).await.ok()).await;
    acknowledged.push("53".to_owned());
    println!("writes again after {:?}", begin.elapsed());

    let kept = notes(&database).await;
    assert!(acknowledged.iter().all(|number| kept.contains(number)), "{kept:?}");
    eventually("every event", async || {
        let texts = bus.texts("u1");
        acknowledged.iter().all(|number| texts.contains(number)).then_some(())
    })
    .await;
}

async fn write(database: &Database, number: u32) -> Result<(), Error> {
    let transaction = database.begin().await?;
    note(&transaction, &number.to_string()).await?;
    transaction.publish(&updated("u1", number)).await?;
    transaction.commit().await
}
