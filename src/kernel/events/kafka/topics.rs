//! Making the topics that are missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::client::{Client, Watch, blocking, millis};
use crate::kernel::error::{Error, Result};
use crate::kernel::policy::TopicSpec;

/// How often to look whether the cluster knows a topic that was just made.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Creates the topics that are missing. One that is there is left as it is: its partitions cannot be
/// changed without moving keys, and its retention belongs to those who run the cluster.
pub(super) async fn prepare(client: &Arc<Client>, topics: &[TopicSpec]) -> Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    let admin: AdminClient<Watch> =
        client.for_admin().create_with_context(client.watch()).map_err(Error::internal)?;
    let admin = Arc::new(admin);
    let known = partitions(client, &admin, topics).await?;
    let mut missing = Vec::new();
    for topic in topics {
        match known.get(&topic.name) {
            None => missing.push(topic.clone()),
            Some(partitions) if *partitions != topic.partitions as usize => tracing::warn!(
                topic = topic.name,
                partitions,
                stated = topic.partitions,
                "a topic has not as many partitions as its contract states"
            ),
            Some(_) => {}
        }
    }
    create(client, &admin, &missing).await?;
    let deadline = Instant::now() + client.settings().request_timeout;
    while partitions(client, &admin, &missing).await?.len() < missing.len() {
        if Instant::now() > deadline {
            return Err(Error::unavailable("the event broker does not show its new topics"));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    client.outage().ended();
    Ok(())
}

/// How many partitions each of the topics has; nothing for one that is missing.
async fn partitions(
    client: &Arc<Client>,
    admin: &Arc<AdminClient<Watch>>,
    topics: &[TopicSpec],
) -> Result<BTreeMap<String, usize>> {
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let (client, admin) = (client.clone(), admin.clone());
    blocking(move || {
        let mut known = BTreeMap::new();
        for name in names {
            let asked = admin
                .inner()
                .fetch_metadata(Some(&client.outer(&name)), client.settings().request_timeout);
            let metadata = asked.map_err(|error| client.unavailable(error))?;
            let Some(topic) = metadata.topics().first() else { continue };
            match topic.error() {
                None => drop(known.insert(name, topic.partitions().len())),
                Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {}
                Some(error) => {
                    return Err(client.unavailable(KafkaError::MetadataFetch(error.into())));
                }
            }
        }
        Ok(known)
    })
    .await
}

async fn create(client: &Client, admin: &AdminClient<Watch>, topics: &[TopicSpec]) -> Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    let settings = client.settings();
    let replicas = match settings.replication_factor {
        0 => -1, // the cluster's own
        stated => i32::from(stated),
    };
    let texts: Vec<_> = topics.iter().map(|topic| Texts::of(client, topic)).collect();
    let new = texts.iter().map(|texts| {
        let topic = NewTopic::new(&texts.name, texts.partitions, TopicReplication::Fixed(replicas));
        // The broker's own clock, so that time does not run backwards within a partition.
        let topic = topic.set("message.timestamp.type", "LogAppendTime");
        match texts.compacted {
            true => topic
                .set("cleanup.policy", "compact")
                .set("min.compaction.lag.ms", &texts.retention),
            false => topic.set("cleanup.policy", "delete").set("retention.ms", &texts.retention),
        }
    });
    let new: Vec<_> = new.collect();
    let timeout = Some(settings.request_timeout);
    let options = AdminOptions::new().request_timeout(timeout).operation_timeout(timeout);
    let made = admin.create_topics(&new, &options).await;
    for result in made.map_err(|error| client.unavailable(error))? {
        match result {
            Ok(topic) => tracing::info!(topic = client.inner(&topic), "topic created"),
            // Another process was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let cause = anyhow::anyhow!("cannot create the topic {topic}: {code}");
                return Err(Error::unavailable("a topic cannot be created").because(cause));
            }
        }
    }
    Ok(())
}

/// What a request for a new topic borrows.
struct Texts {
    name: String,
    partitions: i32,
    retention: String,
    compacted: bool,
}

impl Texts {
    fn of(client: &Client, topic: &TopicSpec) -> Self {
        Self {
            name: client.outer(&topic.name),
            partitions: i32::try_from(topic.partitions).unwrap_or(i32::MAX),
            retention: millis(topic.retention.unwrap_or(client.retention())),
            compacted: topic.compacted,
        }
    }
}
