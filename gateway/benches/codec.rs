//! How long it takes to turn a request's JSON into bytes, a reply's bytes into JSON, and a path into
//! its route: `cargo bench --workspace --bench codec`.
//!
//! Beside each message stands the same work by prost-reflect's `DynamicMessage`, in the same run:
//! the ratio is what counts. A route is looked for among ten and among 10,000.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::fuzzing::Paths;
use gateway::{JsonPlan, RequestPlan, Spelling, Unknown};
use mainstay::contract;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
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

/// An order of a shop, as a client sends it: 400 bytes with three lines, 20 KB nested with more.
const SHOP: &str = r#"
    syntax = "proto3";
    package shop.v1;
    enum Currency { CURRENCY_UNSPECIFIED = 0; CURRENCY_EUR = 1; CURRENCY_USD = 2; }
    message Money { Currency currency = 1; int64 minor_units = 2; }
    message Option { string name = 1; string value = 2; bool is_gift = 3; }
    message Line {
      string article_id = 1;
      int32 quantity = 2;
      Money price = 3;
      repeated Option options = 4;
      repeated Line parts = 5;
    }
    message Order {
      string order_id = 1;
      string customer_id = 2;
      string note = 3;
      double discount = 4;
      bool express = 5;
      repeated Line lines = 6;
      repeated string tags = 7;
      map<string, string> labels = 8;
    }
"#;

fn shop() -> MessageDescriptor {
    let file = protox::file::File::from_source("shop.proto", SHOP).expect("it is sound");
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file.file_descriptor_proto().clone()).expect("it is whole");
    pool.get_message_by_name("shop.v1.Order").expect("it is there")
}

fn line(parts: Vec<Json>) -> Json {
    json!({
        "article_id": "01a1fd98-6672-7186", "quantity": 2,
        "price": { "currency": "CURRENCY_EUR", "minor_units": "1999" },
        "options": [{ "name": "colour", "value": "dark blue", "is_gift": true }],
        "parts": parts,
    })
}

fn small_order() -> Json {
    json!({
        "order_id": "01a1fd98-65a9-7724-8e81-c6028248e93b",
        "customer_id": "01a1fd98-6672-7186-9ecb-4a706a984225",
        "note": "Please leave it with the neighbours, they know.", "discount": 0.05,
        "express": true, "lines": [line(Vec::new())], "tags": ["spring", "returning"],
        "labels": { "channel": "web" },
    })
}

fn large_order() -> Json {
    let mut order = small_order();
    let parts = || vec![line(vec![line(Vec::new()), line(Vec::new())]); 3];
    order["lines"] = Json::Array((0..10).map(|_| line(parts())).collect());
    order
}

fn codec(criterion: &mut Criterion) {
    let known = |name: &str| contract::pool().get_message_by_name(name).expect("it is there");
    let users = "mainstay.identity.v1.ListUsersResponse";
    let records = "mainstay.audit.v1.ListEventsResponse";
    let cases = [
        ("400 B", shop(), small_order()),
        ("20 KB", shop(), large_order()),
        ("a user", known("mainstay.identity.v1.User"), user()),
        (
            "1,000 users",
            known(users),
            json!({ "users": vec![user(); 1000], "next_page_token": "MTAwMA" }),
        ),
        ("50 audit records", known(records), json!({ "events": vec![record(); 50] })),
    ];
    for (name, message, json) in cases {
        let text = json.to_string();
        let wire = DynamicMessage::deserialize(message.clone(), json).expect("it is sound");
        inward(criterion, name, &message, text.as_bytes());
        outward(criterion, name, &message, &wire.encode_to_vec());
    }
}

fn inward(criterion: &mut Criterion, name: &str, message: &MessageDescriptor, text: &[u8]) {
    let table = Arc::new(JsonPlan::compile([message.clone()], Spelling::Contract));
    let plan = RequestPlan::new(table, message.full_name(), Unknown::Refuse).expect("it has JSON");
    let mut group = criterion.benchmark_group(format!("JSON to wire, {name}"));
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("plan", |bencher| {
        bencher.iter(|| plan.message(black_box(text)).expect("it is sound"));
    });
    group.bench_function("DynamicMessage", |bencher| {
        bencher.iter(|| {
            let mut json = serde_json::Deserializer::from_slice(black_box(text));
            let read = DynamicMessage::deserialize(message.clone(), &mut json);
            read.expect("it is sound").encode_to_vec()
        });
    });
    group.finish();
}

fn outward(criterion: &mut Criterion, name: &str, message: &MessageDescriptor, wire: &[u8]) {
    let plan = JsonPlan::compile([message.clone()], Spelling::Contract);
    let place = plan.find(message.full_name()).expect("it was compiled");
    let mut group = criterion.benchmark_group(format!("wire to JSON, {name}"));
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("plan", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::new();
            plan.write(place, black_box(wire), &mut out).expect("it is sound");
            out
        });
    });
    group.bench_function("DynamicMessage", |bencher| {
        bencher.iter(|| {
            let read = DynamicMessage::decode(message.clone(), black_box(wire));
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

/// The same paths, each looked for once in a round, among few routes and among many.
fn routes(criterion: &mut Criterion) {
    let wanted: Vec<String> =
        (0..10).map(|number| format!("/api/v1/service{number}/things/a%20b/parts/7")).collect();
    let mut group = criterion.benchmark_group("path to route");
    group.throughput(Throughput::Elements(wanted.len() as u64));
    for count in [10, 10_000] {
        let mut paths = Paths::default();
        for number in 0..count {
            paths.add(&format!("/api/v1/service{number}/things/{{thing_id}}/parts/{{part_id}}"));
        }
        group.bench_function(format!("{count} routes"), |bencher| {
            bencher.iter(|| {
                for path in &wanted {
                    assert_eq!(paths.find(black_box(path)), Some(2));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, codec, routes);
criterion_main!(benches);
