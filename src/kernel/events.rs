//! Events: at-least-once delivery, exactly-once effect.
//!
//! A service changes its state and publishes what happened in one [`Transaction`]: the event is a
//! row of its outbox. The [`Relay`] hands committed rows to the [`EventBus`], in order for each
//! aggregate. A [`Consumer`] of another service handles each event in a transaction that begins
//! with a row of its inbox, then acknowledges it. Every step may repeat after a crash; the inbox
//! makes the effect happen once. An event that cannot be handled goes to the dead letters.
//!
//! | file | what it holds |
//! |---|---|
//! | `bus`, `prepared` | the seam to a broker, and its topics made before it is used |
//! | [`cloud_events`] | the envelope as CloudEvents 1.0 on foreign brokers |
//! | `embedded`, `kafka` | the broker in one SQLite file, and Apache Kafka |
//! | `streams` | Redis Streams as the broker |
//! | `outbox`, `relay` | from the writer's transaction to the bus |
//! | `consumer`, `runner`, `inbox` | from the bus to the handler's transaction |
//! | `tried` | attempts that failed, counted beyond the life of a process |
//! | `dead_letter`, `redelivery` | what was given up, and how it is delivered once more |
//! | [`json_schema`] | events for consumers who want JSON |
//! | [`audit`] | the record of an audited call |
//! | `origin` | who caused an event, in which request |
//!
//! Which events exist, with topic and key, and what topics are like, is what the contracts state:
//! `policy::EventCatalog`.
//!
//! [`Transaction`]: crate::kernel::database::Transaction

pub mod audit;
pub(crate) mod backoff;
mod bus;
pub mod cloud_events;
mod consumer;
pub(crate) mod dead_letter;
mod embedded;
pub(crate) mod inbox;
pub mod json_schema;
mod kafka;
mod origin;
pub(crate) mod outbox;
mod prepared;
mod progress;
pub(crate) mod redelivery;
mod relay;
mod runner;
mod streams;
pub(crate) mod tried;

use std::sync::Arc;

use prost_reflect::DescriptorPool;
use sea_orm_migration::MigrationTrait;

pub use crate::kernel::policy::TopicSpec;
pub use crate::kernel::proto::events::{
    DeadLetter, DeliveryAttempt, Envelope, PermissionDeclaration,
};
pub use bus::{Cursor, Delivery, EventBus, Page, Position, ReadFrom, Subscription};
pub use consumer::{Consumer, ConsumerState, ConsumerStatus, Consumers, Received, Start};
pub use dead_letter::dead_letter_topic;
pub use embedded::EmbeddedBus;
pub use kafka::KafkaBus;
pub use outbox::prune_captured;
pub use prepared::PreparedBus;
pub use relay::Relay;
pub use streams::StreamsBus;

pub(crate) use backoff::Backoff;
pub(crate) use inbox::retention as inbox_retention;
pub(crate) use origin::{Origin, resume};

use crate::kernel::database::Transaction;
use crate::kernel::error::Result;
use crate::kernel::policy::EventCatalog;
use crate::kernel::proto::events::ServiceDeclared;
use crate::kernel::settings::{EventKind, EventSettings, RedisSettings};

/// A domain event: any message of the contracts. Whether it may be published, on which topic and
/// with which key, is what its contract states by the `event` option.
pub trait Event: prost::Message + prost::Name + Default + Send + Sync + 'static {}

impl<M: prost::Message + prost::Name + Default + Send + Sync + 'static> Event for M {}

/// The broker that the settings name. It connects when it is first used.
pub fn open_bus(
    settings: &EventSettings,
    redis: &RedisSettings,
) -> anyhow::Result<Arc<dyn EventBus>> {
    match settings.kind {
        EventKind::Embedded => Ok(Arc::new(EmbeddedBus::open(settings)?)),
        EventKind::Kafka => Ok(Arc::new(KafkaBus::open(settings)?)),
        EventKind::RedisStreams => Ok(Arc::new(StreamsBus::open(settings, redis)?)),
    }
}

/// What the contracts in `pool` state about topics, and about those of their dead letters.
pub fn topic_specs(
    pool: &DescriptorPool,
    settings: &EventSettings,
) -> anyhow::Result<Vec<TopicSpec>> {
    let catalog = EventCatalog::compile(pool)?;
    let letters = catalog.specs().map(|topic| dead_letter::spec(topic, settings));
    Ok(catalog.specs().cloned().chain(letters).collect())
}

/// Every topic of the contracts in `pool`, sorted. None if the contracts are unsound, which the log
/// then tells; a process with such contracts does not start.
pub fn declared_topics(pool: &DescriptorPool) -> Vec<String> {
    match EventCatalog::compile(pool) {
        Ok(catalog) => catalog.topics(),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the contracts declare no sound events");
            Vec::new()
        }
    }
}

/// States what a service offers, at its start.
pub async fn declare(
    transaction: &Transaction,
    service: &str,
    version: &str,
    permissions: Vec<PermissionDeclaration>,
) -> Result<()> {
    let declared =
        ServiceDeclared { service: service.to_owned(), version: version.to_owned(), permissions };
    transaction.publish(&declared).await
}

/// The tables that events need in each service's database.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(outbox::CreateOutbox),
        Box::new(inbox::CreateInbox),
        Box::new(tried::CreateAttempts),
        Box::new(dead_letter::CreateDeadLetters),
        Box::new(outbox::AddLastError),
        Box::new(outbox::ReadInOrder),
        Box::new(outbox::AddTracestate),
    ]
}

/// Now, in Unix microseconds: how the kernel's tables keep time, the same on every database.
pub(crate) fn now_micros() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// A duration in microseconds, for arithmetic with [`now_micros`].
pub(crate) fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}
