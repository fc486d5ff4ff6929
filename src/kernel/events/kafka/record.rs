//! A record of Kafka and an envelope, one from the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

use super::client::Client;
use crate::kernel::events::bus::{Delivery, Position};
use crate::kernel::events::cloud_events::{self, Foreign};
use crate::kernel::proto::events::Envelope;

/// The headers of a record.
pub(super) fn headers(envelope: &Envelope) -> OwnedHeaders {
    let attributes = cloud_events::headers(envelope);
    let headers = OwnedHeaders::new_with_capacity(attributes.len());
    attributes.iter().fold(headers, |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value.as_bytes()) })
    })
}

/// A record as it is handed out under a membership. What is none of ours brings its fault along.
pub(super) fn delivery(client: &Client, message: &BorrowedMessage<'_>, epoch: u64) -> Delivery {
    let (stream, offset) = (client.stream(message.topic(), message.partition()), message.offset());
    let (mut envelope, fault) = read(client, message);
    if envelope.id.is_empty() {
        envelope.id = format!("{stream}:{offset}");
    }
    Delivery {
        envelope,
        position: Position { stream, offset, epoch },
        published: published(message),
        fault,
    }
}

fn read(client: &Client, message: &BorrowedMessage<'_>) -> (Envelope, Option<String>) {
    // The library panics on a header whose name is no UTF-8, which others may well publish.
    let headers = catch_unwind(AssertUnwindSafe(|| {
        let headers = message.headers().map(|headers| headers.iter());
        let headers = headers.into_iter().flatten();
        headers.map(|header| (header.key, header.value.unwrap_or_default())).collect::<Vec<_>>()
    }));
    let foreign = Foreign {
        topic: client.inner(message.topic()),
        key: message.key().unwrap_or_default(),
        headers: headers.as_deref().unwrap_or_default(),
        data: message.payload().unwrap_or_default(),
    };
    match foreign.read() {
        Ok(envelope) => (envelope, None),
        Err(refused) if headers.is_ok() => (*refused.envelope, Some(refused.reason)),
        Err(refused) => (*refused.envelope, Some("the name of a header is no text".to_owned())),
    }
}

fn published(message: &BorrowedMessage<'_>) -> SystemTime {
    let millis = message.timestamp().to_millis().and_then(|millis| u64::try_from(millis).ok());
    UNIX_EPOCH + Duration::from_millis(millis.unwrap_or_default())
}
