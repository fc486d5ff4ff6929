//! Topics: what they retain, read and delivered once more.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use tokio::time::Instant;

use super::{Operations, proto};
use crate::kernel::error::{Error, Result};
use crate::kernel::events::{Cursor, Delivery, Page, ReadFrom, inbox, redelivery};
use crate::kernel::page::PageRequest;

/// How often the end of a topic is looked at for more.
const TAIL_INTERVAL: Duration = Duration::from_millis(200);

impl Operations {
    pub(super) fn topics(&self) -> proto::ListTopicsResponse {
        let consumers = self.consumers.all();
        let topic = |name: String| {
            let types = self.catalog.events().filter(|(_, event)| event.topic == name);
            let types = types.map(|(full_name, _)| full_name.to_owned()).collect();
            let listening = consumers.iter().filter(|status| status.topics().contains(&name));
            let consumers = listening.map(|status| status.group().to_owned()).collect();
            proto::Topic { name, types, consumers }
        };
        proto::ListTopicsResponse {
            topics: self.catalog.topics().into_iter().map(topic).collect(),
            next_page_token: String::new(),
        }
    }

    pub(super) async fn events(
        &self,
        request: proto::ReadEventsRequest,
        reveal: bool,
    ) -> Result<proto::ReadEventsResponse> {
        let limit = PageRequest::parse(request.page_size, "")?.size as usize;
        let wait = Duration::from_millis(u64::try_from(request.wait_ms).unwrap_or_default());
        let deadline = Instant::now() + wait;
        let topic = &request.topic;
        let mut from = match (request.from_end, request.position.is_empty()) {
            (true, true) => ReadFrom::Cursor(self.bus.end(topic).await?),
            _ => read_from(&request.position, request.start_time)?,
        };
        let page = loop {
            let page = self.bus.read(topic, from, limit).await?;
            if !page.records.is_empty() || Instant::now() >= deadline {
                break page;
            }
            from = ReadFrom::Cursor(page.next);
            tokio::time::sleep(TAIL_INTERVAL.min(wait)).await;
        };
        let events = page.records.iter();
        Ok(proto::ReadEventsResponse {
            events: events.map(|record| self.renderer.record(record, reveal)).collect(),
            next_position: page.next.to_string(),
        })
    }

    pub(super) async fn replay_records(
        &self,
        request: proto::ReplayEventsRequest,
    ) -> Result<proto::ReplayEventsResponse> {
        self.check_replay(&request)?;
        let limit = PageRequest::parse(request.page_size, "")?.size as usize;
        let from = read_from(&request.position, request.start_time)?;
        let Page { mut records, next } = self.bus.read(&request.topic, from, limit).await?;
        let read = records.len();
        let until = request.end_time.map(system_time).transpose()?;
        records.retain(|record| is_meant(record, &request, until));
        let records = match request.consumer.is_empty() {
            true => records,
            false => self.not_handled(&request.consumer, records).await?,
        };
        let selected = records.len();
        if !request.dry_run && selected > 0 {
            self.deliver(&request.consumer, records).await?;
        }
        Ok(proto::ReplayEventsResponse {
            read: count(read),
            selected: count(selected),
            replayed: if request.dry_run { 0 } else { count(selected) },
            next_position: if read == 0 { String::new() } else { next.to_string() },
        })
    }

    fn check_replay(&self, request: &proto::ReplayEventsRequest) -> Result<()> {
        if request.consumer.is_empty() {
            return match request.end_time {
                Some(_) => Ok(()),
                None => Err(Error::invalid("end_time", "is needed to publish events once more")),
            };
        }
        let status = self.consumers.group(&request.consumer).ok_or_else(|| {
            let description = format!("is no consumer of {}", self.service);
            Error::invalid("consumer", description)
        })?;
        match status.topics().contains(&request.topic) {
            true => Ok(()),
            false => Err(Error::invalid("topic", "is none that the consumer listens to")),
        }
    }

    /// What a consumer takes and has not handled.
    async fn not_handled(&self, consumer: &str, records: Vec<Delivery>) -> Result<Vec<Delivery>> {
        let (database, status) = (self.database()?, self.consumers.group(consumer));
        let takes = |record: &Delivery| {
            status.as_ref().is_some_and(|status| status.takes(&record.envelope))
        };
        let mut missing = Vec::new();
        for record in records.into_iter().filter(takes) {
            if !inbox::contains(database, consumer, &record.envelope.id).await? {
                missing.push(record);
            }
        }
        Ok(missing)
    }

    async fn deliver(&self, consumer: &str, records: Vec<Delivery>) -> Result<()> {
        let envelopes = records.into_iter().map(|record| record.envelope);
        if consumer.is_empty() {
            return self.bus.publish(envelopes.collect()).await;
        }
        let transaction = self.database()?.begin().await?;
        for envelope in envelopes {
            redelivery::insert(transaction.connection(), consumer, &envelope).await?;
        }
        transaction.commit().await?;
        if let Some(status) = self.consumers.group(consumer) {
            status.redelivery().notify_one();
        }
        Ok(())
    }
}

/// Whether a record is an event of ours, of the type, the aggregate and the time asked for.
fn is_meant(
    record: &Delivery,
    request: &proto::ReplayEventsRequest,
    until: Option<SystemTime>,
) -> bool {
    let envelope = &record.envelope;
    record.fault.is_none()
        && until.is_none_or(|until| record.published < until)
        && (request.r#type.is_empty() || request.r#type == envelope.r#type)
        && (request.subject.is_empty() || request.subject == envelope.subject)
}

fn read_from(position: &str, start_time: Option<Timestamp>) -> Result<ReadFrom> {
    if !position.is_empty() {
        let cursor: Cursor = position.parse().map_err(|error: anyhow::Error| {
            Error::invalid("position", "must be the next_position of a reply").because(error)
        })?;
        return Ok(ReadFrom::Cursor(cursor));
    }
    match start_time {
        Some(time) => Ok(ReadFrom::Time(system_time(time)?)),
        None => Ok(ReadFrom::Earliest),
    }
}

fn system_time(time: Timestamp) -> Result<SystemTime> {
    SystemTime::try_from(time)
        .map_err(|error| Error::invalid("start_time", "is out of range").because(error))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
