//! The broker of one test: a file in its folder, or topics of its own on the real Kafka.

use std::path::Path;
use std::time::Duration;

use mainstay::kernel::settings::{EventKind, EventSettings, KafkaSettings};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::infra::{Infra, infra};

/// How long the cluster may take to tell of its topics, and to forget some.
const PATIENCE: Duration = Duration::from_secs(10);

/// After which silence a member of a group is taken for dead. Kafka allows no less unless it is told.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// The broker of one test. Dropped, it takes the test's topics away.
pub struct TestBroker {
    settings: EventSettings,
}

impl TestBroker {
    /// A broker that no other test uses; `folder` goes away with the test.
    pub fn new(folder: &Path) -> Self {
        Self::on(folder, infra())
    }

    pub(crate) fn on(folder: &Path, infra: Option<&Infra>) -> Self {
        let embedded = EventSettings { path: folder.join("broker.db"), ..EventSettings::default() };
        let Some(infra) = infra else { return Self { settings: embedded } };
        let kafka = KafkaSettings {
            brokers: infra.kafka.brokers.clone(),
            session_timeout: SESSION_TIMEOUT,
            // Some stories make a topic to which somebody listens already.
            client: [("topic.metadata.refresh.interval.ms".to_owned(), "250".to_owned())].into(),
            ..KafkaSettings::default()
        };
        let topic_prefix = format!("test-{}.", uuid::Uuid::now_v7().simple());
        let settings = EventSettings { kind: EventKind::Kafka, topic_prefix, kafka, ..embedded };
        Self { settings }
    }

    /// How to reach it.
    pub fn settings(&self) -> &EventSettings {
        &self.settings
    }

    /// The same, for a process.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variable = |key: &str, value: &str| (format!("MAINSTAY_EVENTS__{key}"), value.into());
        let Self { settings } = self;
        let path = settings.path.to_str().expect("test folders are UTF-8");
        let mut variables = vec![variable("PATH", path)];
        if settings.kind == EventKind::Kafka {
            variables.push(variable("KIND", "kafka"));
            variables.push(variable("TOPIC_PREFIX", &settings.topic_prefix));
            variables.push(variable("KAFKA__BROKERS", &settings.kafka.brokers));
            let timeout = format!("{}s", settings.kafka.session_timeout.as_secs());
            variables.push(variable("KAFKA__SESSION_TIMEOUT", &timeout));
        }
        variables
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        if self.settings.kind != EventKind::Kafka {
            return;
        }
        let EventSettings { kafka, topic_prefix, .. } = self.settings.clone();
        // What is left behind is in nobody's way: no failure of the test.
        let cleaning = std::thread::spawn(move || delete_topics(&kafka.brokers, &topic_prefix));
        if let Ok(Err(error)) = cleaning.join() {
            eprintln!("the topics of a test are left behind: {error:#}");
        }
    }
}

fn delete_topics(brokers: &str, prefix: &str) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set_log_level(RDKafkaLogLevel::Critical)
        .create()?;
    let metadata = admin.inner().fetch_metadata(None, PATIENCE)?;
    let topics: Vec<&str> = metadata
        .topics()
        .iter()
        .map(|topic| topic.name())
        .filter(|topic| topic.starts_with(prefix))
        .collect();
    if !topics.is_empty() {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        futures::executor::block_on(admin.delete_topics(&topics, &options))?;
    }
    Ok(())
}
