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
//! | `bus`, `embedded` | the seam to a broker, and the broker in one SQLite file |
//! | `outbox`, `relay` | from the writer's transaction to the bus |
//! | `consumer`, `runner`, `inbox` | from the bus to the handler's transaction |
//! | `dead_letter` | what could not be handled |
//! | [`audit`] | the record of an audited call |
//! | `origin` | who caused an event, in which request |
//!
//! Which events exist, with topic and key, is what the contracts state: `policy::EventCatalog`.
//!
//! [`Transaction`]: crate::kernel::database::Transaction

pub mod audit;
mod backoff;
mod bus;
mod consumer;
mod dead_letter;
mod embedded;
pub(crate) mod inbox;
mod origin;
pub(crate) mod outbox;
mod relay;
mod runner;

use prost_reflect::DescriptorPool;
use sea_orm_migration::MigrationTrait;

pub use crate::kernel::proto::events::{DeadLetter, Envelope, PermissionDeclaration};
pub use bus::{Delivery, EventBus, Position, Subscription};
pub use consumer::{Consumer, Received, Start};
pub use dead_letter::dead_letter_topic;
pub use embedded::EmbeddedBus;
pub use relay::Relay;

use crate::kernel::database::Transaction;
use crate::kernel::error::Result;
use crate::kernel::policy::EventCatalog;
use crate::kernel::proto::events::ServiceDeclared;

/// A domain event: any message of the contracts. Whether it may be published, on which topic and
/// with which key, is what its contract states by the `event` option.
pub trait Event: prost::Message + prost::Name + Default + Send + Sync + 'static {}

impl<M: prost::Message + prost::Name + Default + Send + Sync + 'static> Event for M {}

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
    vec![Box::new(outbox::CreateOutbox), Box::new(inbox::CreateInbox)]
}

/// Now, in Unix microseconds: how the kernel's tables keep time, the same on every database.
pub(crate) fn now_micros() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// A duration in microseconds, for arithmetic with [`now_micros`].
pub(crate) fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}
