//! Domain types become messages of the contract.

use std::collections::BTreeMap;

use mainstay::contract::audit::proto::{
    AuditEvent, ListActivityResponse, ListEventsResponse, VerifyResponse,
};
use mainstay::kernel::page::{PageRequest, PageToken};
use mainstay::kernel::time::timestamp;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Map, Value};
use tonic::Response;

use crate::app::Records;
use crate::domain::{Entry, Report};

/// One record.
pub fn record(entry: Entry) -> Response<AuditEvent> {
    Response::new(message(entry))
}

/// A page of records.
pub fn record_page(page: &PageRequest, records: Records) -> Response<ListEventsResponse> {
    let total_size = records.total.map(|total| i32::try_from(total).unwrap_or(i32::MAX));
    let (events, next_page_token) = cut(page, records);
    Response::new(ListEventsResponse { events, next_page_token, total_size })
}

/// A page of what a user did.
pub fn activity_page(page: &PageRequest, records: Records) -> Response<ListActivityResponse> {
    let (events, next_page_token) = cut(page, records);
    Response::new(ListActivityResponse { events, next_page_token })
}

/// The result of a verification.
pub fn report(report: Report) -> Response<VerifyResponse> {
    let mut response = VerifyResponse {
        intact: report.fault.is_none(),
        verified_records: report.verified_records,
        checkpoint_sequence: report.checkpoint,
        background_verify_time: report.background_verify_time.map(timestamp),
        ..VerifyResponse::default()
    };
    if let Some(fault) = report.fault {
        response.first_broken_id = fault.record_id;
        response.first_broken_sequence = fault.sequence;
        response.reason = fault.reason;
    }
    Response::new(response)
}

fn cut(page: &PageRequest, records: Records) -> (Vec<AuditEvent>, String) {
    let key = |entry: &Entry| PageToken::new([entry.sequence.to_string()]);
    let (entries, next_page_token) = page.cut(records.entries, key);
    (entries.into_iter().map(message).collect(), next_page_token)
}

fn message(entry: Entry) -> AuditEvent {
    let Entry { sequence, record, hash, previous_hash } = entry;
    AuditEvent {
        id: record.id,
        sequence,
        time: Some(timestamp(record.time)),
        actor: record.actor,
        action: record.action,
        resource: record.resource,
        outcome: record.outcome,
        request_id: record.request_id,
        trace_id: record.trace_id,
        source: record.source,
        details: Some(details(&record.details)),
        hash: hash.to_string(),
        previous_hash: previous_hash.to_string(),
    }
}

/// Details that are no JSON object (somebody changed them) are shown as none: verification says so,
/// and a list of the other records still works.
fn details(text: &str) -> Struct {
    serde_json::from_str::<Map<String, Value>>(text).map(structure).unwrap_or_default()
}

fn structure(fields: Map<String, Value>) -> Struct {
    let fields: BTreeMap<_, _> =
        fields.into_iter().map(|(name, value)| (name, self::value(value))).collect();
    Struct { fields }
}

fn value(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(self::value).collect() })
        }
        Value::Object(fields) => Kind::StructValue(structure(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}
