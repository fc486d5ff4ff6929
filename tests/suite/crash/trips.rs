//! A process that moves sagas on: trips over several services, every second of which has to be undone.

use std::collections::BTreeMap;

use mainstay::kernel::database::Database;
use mainstay::kernel::error::FAILED_PRECONDITION;
use mainstay::kernel::jobs::{Runner, Worker};
use mainstay::kernel::saga::{self, NewSaga, Saga, SagaState, Sagas, Step, StepCall};
use mainstay::kernel::settings::JobSettings;
use mainstay::kernel::{Error, Result};
use sea_orm::sea_query::{ColumnDef, Table};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::process::{Order, Place, Work, acknowledge, open};
use super::{Duration, Failpoint, Instant, LIVES};
use crate::world::{CreateNotes, World, note, notes};

const TRIP: &str = "trip";

/// How ids end of trips for which there is no car: they are undone.
const NO_CAR: &str = "-no-car";

/// How long the last life may take to finish what the others left behind.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Trips {
    _world: World,
    order: Order,
}

impl Trips {
    pub(super) async fn new() -> Self {
        let world = World::new();
        let place = |service| Place::from(world.database_settings(service));
        let order = Order {
            work: Work::Trips,
            life: 0,
            failpoint: String::new(),
            passage: 1,
            events: world.settings.clone(),
            first: place("auth-svc"),
            second: place("billing-svc"),
        };
        let (home, elsewhere) = databases(&order);
        home.migrate(vec![Box::new(CreateNotes)]).await.unwrap();
        elsewhere.migrate(vec![Box::new(CreateEffects)]).await.unwrap();
        Self { _world: world, order }
    }

    /// Lets the processes live and die. The ids of the trips whose beginning they have acknowledged.
    pub(super) async fn live_and_die(&self, failpoint: Failpoint, passages: u32) -> Vec<String> {
        self.order.lives(failpoint, passages).await
    }

    /// Lives the last life, and looks at every trip: done or undone as a whole, in order, and each
    /// effect once.
    pub(super) async fn done_or_undone_once(&self, acknowledged: &[String]) {
        let (home, elsewhere) = databases(&self.order);
        let runner = start(&home, &elsewhere);
        let deadline = Instant::now() + PATIENCE;
        let mut begun = Vec::new();
        for id in (0..LIVES).flat_map(ids) {
            match ended(&home, &id, deadline).await {
                Some(state) => begun.push((id, state)),
                None => assert!(!acknowledged.contains(&id), "{id} was acknowledged and is lost"),
            }
        }
        runner.stop().await;
        let mut abroad = by_trip(effects(&elsewhere).await);
        let mut at_home = by_trip(notes(&home).await);
        for (id, state) in begun {
            let (end, effects, notes) = match id.ends_with(NO_CAR) {
                true => (
                    SagaState::Compensated,
                    "flight, hotel, hotel undone, flight undone",
                    "noted, undone",
                ),
                false => (SagaState::Completed, "flight, hotel, car", "noted"),
            };
            assert_eq!(state, end, "{id}");
            assert_eq!(abroad.remove(&id).unwrap_or_default().join(", "), effects, "{id}");
            assert_eq!(at_home.remove(&id).unwrap_or_default().join(", "), notes, "{id}");
        }
        assert!(abroad.is_empty() && at_home.is_empty(), "never begun: {abroad:?} {at_home:?}");
    }
}

/// Begins two trips, of which one has to be undone, and moves on what is there until the process ends.
pub(super) async fn live(order: &Order) {
    let (home, elsewhere) = databases(order);
    let _runner = start(&home, &elsewhere);
    for id in ids(order.life) {
        let transaction = home.begin().await.unwrap();
        assert!(transaction.begin_saga(NewSaga::new(TRIP, &id, ()).unwrap()).await.unwrap());
        transaction.commit().await.unwrap();
        acknowledge(&id);
    }
    std::future::pending().await
}

/// The trips that a life begins.
fn ids(life: u32) -> [String; 2] {
    [format!("trip-{life}"), format!("trip-{life}{NO_CAR}")]
}

/// Waits until a trip has ended; `None` if there is no such trip.
async fn ended(home: &Database, id: &str, deadline: Instant) -> Option<SagaState> {
    let sagas = Sagas::new(home.clone());
    loop {
        let trip = sagas.find(TRIP, id).await.unwrap()?;
        if trip.state.is_finished() {
            return Some(trip.state);
        }
        assert!(Instant::now() < deadline, "it does not end: {trip:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What happened, by trip.
fn by_trip(texts: Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut trips: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for text in texts {
        let (id, what) = text.split_once('/').unwrap();
        trips.entry(id.to_owned()).or_default().push(what.to_owned());
    }
    trips
}

/// Where sagas and notes are, and where the other services keep what they did.
fn databases(order: &Order) -> (Database, Database) {
    (open("auth-svc", &order.first), open("billing-svc", &order.second))
}

fn start(home: &Database, elsewhere: &Database) -> Worker {
    let settings = JobSettings {
        poll_interval: Duration::from_millis(10),
        // What a dead process was about is begun again after so long.
        lease: Duration::from_secs(1),
        retry_backoff: Duration::from_millis(5),
        ..JobSettings::default()
    };
    let trip = saga::job_of(trip(home, elsewhere), home.clone());
    Runner::new(home.clone(), [trip], &settings).spawn()
}

/// Flight, hotel and car, each booked elsewhere; the note of the trip is kept at home.
fn trip(home: &Database, elsewhere: &Database) -> Saga {
    let (noting, crossing_out) = (home.clone(), home.clone());
    let noted = Step::local("note", move |call: StepCall, (): ()| {
        let home = noting.clone();
        async move { note_of(&home, &call, "noted").await }
    })
    .compensate_local(move |call: StepCall, (): ()| {
        let home = crossing_out.clone();
        async move { note_of(&home, &call, "undone").await }
    });
    Saga::new(TRIP)
        .step(booking("flight", elsewhere))
        .step(booking("hotel", elsewhere))
        .step(noted)
        .step(booking("car", elsewhere))
}

/// A step whose effect is elsewhere, once for each key.
fn booking(what: &'static str, elsewhere: &Database) -> Step {
    let (booking, cancelling) = (elsewhere.clone(), elsewhere.clone());
    Step::new(what, move |call: StepCall, (): ()| {
        let elsewhere = booking.clone();
        async move {
            if what == "car" && call.saga_id.ends_with(NO_CAR) {
                return Err(Error::new(FAILED_PRECONDITION, "there is no car"));
            }
            effect(&elsewhere, &call.key(), &format!("{}/{what}", call.saga_id)).await
        }
    })
    .compensate(move |call: StepCall, (): ()| {
        let elsewhere = cancelling.clone();
        async move {
            // What was never booked is not cancelled.
            match call.step {
                "car" => Ok(()),
                _ => {
                    let text = format!("{}/{what} undone", call.saga_id);
                    effect(&elsewhere, &call.key(), &text).await
                }
            }
        }
    })
}

async fn note_of(home: &Database, call: &StepCall, what: &str) -> Result<()> {
    let transaction = home.begin().await?;
    note(&transaction, &format!("{}/{what}", call.saga_id)).await?;
    transaction.commit().await
}

/// Does something elsewhere; a key that is known is not done again.
async fn effect(elsewhere: &Database, key: &str, text: &str) -> Result<()> {
    let transaction = elsewhere.begin().await?;
    let connection = transaction.connection();
    let insert = "INSERT INTO effects (key, text) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
    let backend = connection.get_database_backend();
    let values = [key.into(), text.into()];
    connection.execute_raw(Statement::from_sql_and_values(backend, insert, values)).await?;
    transaction.commit().await
}

/// What happened elsewhere, in order.
async fn effects(elsewhere: &Database) -> Vec<String> {
    let connection = elsewhere.connection();
    let query = "SELECT text FROM effects ORDER BY id";
    let query = Statement::from_string(connection.get_database_backend(), query);
    let rows = connection.query_all_raw(query).await.unwrap();
    rows.iter().map(|row| row.try_get("", "text").unwrap()).collect()
}

/// Creates what the other services keep.
struct CreateEffects;

impl MigrationName for CreateEffects {
    fn name(&self) -> &str {
        "test_0001_create_effects"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateEffects {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("effects")
            .col(ColumnDef::new("id").big_integer().auto_increment().primary_key())
            .col(ColumnDef::new("key").text().not_null().unique_key())
            .col(ColumnDef::new("text").text().not_null())
            .take();
        manager.create_table(table).await
    }
}
