//! How long it takes to turn a reply into JSON: `cargo bench --workspace --bench codec`.
//!
//! Beside each message stands the same work by prost-reflect's `DynamicMessage`, in the same run:
//! the ratio is what counts.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::{JsonPlan, Spelling};
use mainstay::contract;
use prost::Message as _;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Value as Json, json};

/// As the gateway writes replies in an envelope.
const ENVELOPED: SerializeOptions =
    SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);

fn user() -> Json {
    json!({
        "id": "01a1fd98-65a9-7724-8e81-c6028248e93b", "email": "ada@example.com",
        "display_name": "Ada Lovelace", "locale": "en-GB", "time_zone": "Europe/London",
        "avatar_url": "https://example.com/pictures/01a1fd98.png",
        "bio": "The first to see that such an engine might compose \u{1F3B5}.",
        "create_time": "2026-11-21T10:13:05.577793Z",
        "update_time": "2026-11-21T10:13:05.577793Z", "etag": "44a2ddd7fd6f86a7",
    })
}

/// A record of the audit trail: its details are a `google.protobuf.Struct`.
fn record() -> Json {
    json!({
        "id": "01a1fd98-6672-7186-9ecb-4a706a984225", "sequence": "52",
        "action": "billing.v1.SubscriptionChanged",
        "actor": "user:01a1fd98-65a9-7724-8e81-c6028248e93b",
        "details": {
            "plan": "paid", "previous_plan": "free", "state": "SUBSCRIPTION_STATE_ACTIVE",
            "request": { "page_size": 20, "filter": { "states": ["ACTIVE", "PENDING"] } },
        },
    })
}

fn codec(criterion: &mut Criterion) {
    let cases = [
        ("a user", "mainstay.identity.v1.User", user()),
        (
            "1,000 users",
            "mainstay.identity.v1.ListUsersResponse",
            json!({ "users": vec![user(); 1000], "next_page_token": "MTAwMA" }),
        ),
        (
            "50 audit records",
            "mainstay.audit.v1.ListEventsResponse",
            json!({ "events": vec![record(); 50] }),
        ),
    ];
    for (name, message, json) in cases {
        let message = contract::pool().get_message_by_name(message).expect("it is in a contract");
        let plan = JsonPlan::compile([message.clone()], Spelling::Contract);
        let place = plan.find(message.full_name()).expect("it was compiled");
        let wire = DynamicMessage::deserialize(message.clone(), json).expect("it is sound");
        let wire = wire.encode_to_vec();
        let mut group = criterion.benchmark_group(format!("wire to JSON, {name}"));
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function("plan", |bencher| {
            bencher.iter(|| {
                let mut out = Vec::with_capacity(wire.len() * 2);
                plan.write(place, black_box(&wire), &mut out).expect("it is sound");
                out
            });
        });
        group.bench_function("DynamicMessage", |bencher| {
            bencher.iter(|| {
                let read = DynamicMessage::decode(message.clone(), black_box(&*wire));
                let mut out = Vec::with_capacity(wire.len() * 2);
                let mut json = serde_json::Serializer::new(&mut out);
                read.expect("it is sound")
                    .serialize_with_options(&mut json, &ENVELOPED)
                    .expect("it has JSON");
                out
            });
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
