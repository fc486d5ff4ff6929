//! Where a phase takes place: two services' databases, and topics that nobody else uses.

use std::sync::Arc;

use mainstay::contract;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::{PreparedBus, open_bus, topic_specs};
use mainstay::kernel::settings::{
    DatabaseSettings, EventKind, EventSettings, KafkaSettings, RedisSettings,
};

/// The service whose outbox is relayed.
const WRITER: &str = "writer";
/// The service that consumes.
const READER: &str = "reader";

/// The servers.
#[derive(Debug, clap::Args)]
pub(super) struct Ground {
    /// PostgreSQL as the writing service.
    #[arg(long, env = "MAINSTAY_BENCH_WRITER_URL", hide_env_values = true)]
    writer_url: String,
    /// PostgreSQL as the consuming service.
    #[arg(long, env = "MAINSTAY_BENCH_READER_URL", hide_env_values = true)]
    reader_url: String,
    /// Kafka: `host:port`, several of them with commas between.
    #[arg(long)]
    brokers: String,
    /// What the names of topics and groups begin with.
    #[arg(long)]
    topic_prefix: String,
}

impl Ground {
    /// The writing service's database.
    pub(super) async fn writer(&self) -> anyhow::Result<Database> {
        database(WRITER, &self.writer_url).await
    }

    /// The consuming service's database.
    pub(super) async fn reader(&self) -> anyhow::Result<Database> {
        database(READER, &self.reader_url).await
    }

    /// As services have them by default, on Kafka.
    pub(super) fn settings(&self) -> EventSettings {
        let kafka = KafkaSettings { brokers: self.brokers.clone(), ..KafkaSettings::default() };
        EventSettings {
            kind: EventKind::Kafka,
            topic_prefix: self.topic_prefix.clone(),
            kafka,
            ..EventSettings::default()
        }
    }

    /// The broker, as a service opens it.
    pub(super) fn bus(&self) -> anyhow::Result<Arc<PreparedBus>> {
        let settings = self.settings();
        let bus = PreparedBus::new(open_bus(&settings, &RedisSettings::default())?);
        bus.declare(topic_specs(contract::pool(), &settings)?);
        Ok(Arc::new(bus))
    }
}

async fn database(service: &str, url: &str) -> anyhow::Result<Database> {
    let settings = DatabaseSettings { url: url.to_owned().into(), ..DatabaseSettings::default() };
    let database = Database::open(service, &settings)?;
    database.declare_events(contract::pool())?;
    database.migrate(Vec::new()).await?;
    Ok(database)
}
