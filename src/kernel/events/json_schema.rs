//! JSON Schema (2020-12) of each event, for consumers who want JSON.
//!
//! A schema describes the canonical JSON mapping of proto3: names of fields in lowerCamelCase, 64-bit
//! integers and times as text, bytes in base64. What CloudEvents calls `dataschema` is the `$id` of
//! one, and its path is where [`app`] serves it. Nothing is closed: consumers must pass over
//! properties and values of enums that they do not know, for events gain them.

mod kinds;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use prost_reflect::{DescriptorPool, FileDescriptor};
use serde_json::{Map, Value, json};

use super::cloud_events::data_schema;
use crate::kernel::policy::{EventCatalog, TopicSpec};
use crate::kernel::settings::EventSettings;
use kinds::Kinds;

/// The version of JSON Schema.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The media type of a schema.
const MEDIA_TYPE: &str = "application/schema+json";

/// The schema of an event; `None` if the contracts declare no such event.
pub fn schema(pool: &DescriptorPool, type_name: &str) -> anyhow::Result<Option<Value>> {
    let catalog = EventCatalog::compile(pool)?;
    let (Some(event), Some(message)) =
        (catalog.event(type_name), pool.get_message_by_name(type_name))
    else {
        return Ok(None);
    };
    let mut kinds = Kinds::new(pool);
    let mut schema = Map::from_iter([
        ("$schema".to_owned(), json!(DIALECT)),
        ("$id".to_owned(), json!(data_schema(type_name))),
        ("title".to_owned(), json!(message.name())),
        ("x-topic".to_owned(), json!(event.topic)),
        ("x-key".to_owned(), json!(event.key.name())),
    ]);
    schema.extend(kinds.message(&message)?);
    let definitions = kinds.definitions()?;
    if !definitions.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Ok(Some(Value::Object(schema)))
}

/// Every topic with what is stated about it, and its events with the places of their schemas.
pub fn topics(pool: &DescriptorPool, settings: &EventSettings) -> anyhow::Result<Value> {
    let catalog = EventCatalog::compile(pool)?;
    let describe = |topic: &TopicSpec| {
        let events = catalog.events().filter(|(_, event)| event.topic == topic.name);
        let events: Vec<Value> = events
            .map(|(name, event)| {
                json!({
                    "type": name,
                    "key": event.key.name(),
                    "dataschema": data_schema(name),
                    "schema": format!("/schemas/{name}"),
                })
            })
            .collect();
        json!({
            "topic": topic.name,
            "name": format!("{}{}", settings.topic_prefix, topic.name),
            "partitions": topic.partitions,
            "retention_seconds": topic.retention.unwrap_or(settings.retention).as_secs(),
            "compacted": topic.compacted,
            "events": events,
        })
    };
    Ok(json!({ "topics": catalog.specs().map(describe).collect::<Vec<_>>() }))
}

/// `/schemas`, the topics and their events, and `/schemas/<type>`, the schema of one event.
pub fn app(pool: DescriptorPool, settings: EventSettings) -> Router {
    Router::new()
        .route("/schemas", get(index))
        .route("/schemas/{type_name}", get(one))
        .with_state(Arc::new((pool, settings)))
}

type Known = State<Arc<(DescriptorPool, EventSettings)>>;

async fn index(State(known): Known) -> Response {
    match topics(&known.0, &known.1) {
        Ok(topics) => Json(topics).into_response(),
        Err(error) => unsound(&error),
    }
}

async fn one(State(known): Known, Path(type_name): Path<String>) -> Response {
    match schema(&known.0, &type_name) {
        Ok(Some(schema)) => {
            ([(header::CONTENT_TYPE, MEDIA_TYPE)], schema.to_string()).into_response()
        }
        Ok(None) => {
            let body = json!({ "error": format!("no event {type_name}; see /schemas") });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
        Err(error) => unsound(&error),
    }
}

/// Contracts are checked before a process starts.
fn unsound(error: &anyhow::Error) -> Response {
    tracing::error!(error = format!("{error:#}"), "the contracts declare no sound events");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// The comments of a file, by the path of what they stand at.
fn comments(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.map(|info| info.location.as_slice()).unwrap_or_default();
    let commented = locations.iter().filter_map(|location| {
        let text =
            location.leading_comments.as_deref().or(location.trailing_comments.as_deref())?;
        let words: Vec<_> = text.split_whitespace().collect();
        Some((location.path.clone(), words.join(" ")))
    });
    commented.collect()
}
