//! JSON to messages on the wire: the same as a reader of whole messages makes of it.

use std::sync::Arc;

use gateway::{JsonPlan, RequestPlan, Spelling, Unknown};
use mainstay::kernel::error::Error;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value as Json;

use crate::json::{MESSAGES, Random, by, holder, kinds, old};

fn plan(message: &MessageDescriptor) -> (Arc<JsonPlan>, RequestPlan) {
    let table = Arc::new(JsonPlan::compile([message.clone()], Spelling::Canonical));
    let plan = RequestPlan::new(Arc::clone(&table), message.full_name(), Unknown::Refuse);
    (table, plan.unwrap())
}

/// What prost-reflect makes of a text, with nothing behind it. By way of the wire, where a default
/// that was said is as good as one that was not.
fn expected(message: &MessageDescriptor, text: &[u8]) -> Option<DynamicMessage> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = DynamicMessage::deserialize(message.clone(), &mut json).ok()?;
    json.end().ok()?;
    Some(DynamicMessage::decode(message.clone(), &*read.encode_to_vec()).unwrap())
}

/// Whether two messages are the same but for the last digit of a fraction, which serde_json reads
/// fast and not exactly.
fn alike(one: &DynamicMessage, other: &DynamicMessage) -> bool {
    one == other || near(&json(one), &json(other))
}

fn json(message: &DynamicMessage) -> Json {
    serde_json::to_value(message).unwrap()
}

fn near(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= one.abs() * 1e-15
        }
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| near(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| near(one, other)))
        }
        _ => one == other,
    }
}

/// Why a text is refused here that prost-reflect takes: proto3 JSON has nothing that comes twice, no
/// time finer than nanoseconds, and no number in quotes that would be none without them.
fn is_stricter(error: &Error, text: &str) -> bool {
    let reason = &error.violations()[0].description;
    let finer =
        text.split('.').skip(1).any(|rest| rest.bytes().take_while(u8::is_ascii_digit).count() > 9);
    let leading_zero = ["\"0", "\"-0", "\"+"].iter().any(|zero| {
        text.split(zero).skip(1).any(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
    });
    let is_time = reason.contains("a time by RFC 3339") || reason.contains("a duration");
    let is_number = reason.contains("integer") || reason.contains("number");
    reason.starts_with("appears twice") || is_time && finer || is_number && leading_zero
}

#[test]
fn any_json_is_written_as_a_reader_of_whole_messages_reads_it() {
    let kinds = kinds();
    for spelling in [Spelling::Contract, Spelling::Canonical] {
        let table = Arc::new(JsonPlan::compile([kinds.clone()], spelling));
        let plan = RequestPlan::new(Arc::clone(&table), "kinds.v1.Kinds", Unknown::Refuse).unwrap();
        for seed in 0..MESSAGES {
            let wire = Random(StdRng::seed_from_u64(seed)).message(&kinds, 3);
            let text = by(&table, &kinds, &wire).unwrap();
            let wanted = expected(&kinds, text.as_bytes()).unwrap();
            let found = plan.message(text.as_bytes());
            let found = found.unwrap_or_else(|fault| panic!("seed {seed}: {fault}: {text}"));
            let found = DynamicMessage::decode(kinds.clone(), found).unwrap();
            // Without `assert_eq`: what shows descriptors does not come to an end.
            assert!(alike(&found, &wanted), "seed {seed}, {spelling:?}: {text} is {found}");
        }
    }
}

#[test]
fn damaged_texts_are_taken_and_refused_by_both_readers_alike() {
    let kinds = kinds();
    let (table, plan) = plan(&kinds);
    let (mut refused, mut read, mut stricter) = (0, 0, 0);
    for seed in 0..MESSAGES * 5 {
        let mut random = Random(StdRng::seed_from_u64(seed));
        let wire = random.message(&kinds, 2);
        let mut text = by(&table, &kinds, &wire).unwrap().into_bytes();
        for _ in 0..random.0.random_range(1..3) {
            random.damage_text(&mut text);
        }
        let shown = String::from_utf8_lossy(&text);
        match (plan.message(&text), expected(&kinds, &text)) {
            (Ok(found), Some(wanted)) => {
                let found = DynamicMessage::decode(kinds.clone(), found).unwrap();
                assert!(alike(&found, &wanted), "seed {seed}: {shown} is {found}");
                read += 1;
            }
            (Err(_), None) => refused += 1,
            (Err(fault), Some(_)) => {
                assert!(is_stricter(&fault, &shown), "seed {seed}: {fault}: {shown}");
                stricter += 1;
            }
            (Ok(_), None) => panic!("seed {seed}: prost-reflect refuses {shown}"),
        }
    }
    let enough = refused > 1000 && read > 1000 && (1..500).contains(&stricter);
    assert!(enough, "{refused} refused, {read} read, {stricter} stricter");
}

#[test]
fn all_faults_are_named_by_their_paths_and_twenty_at_most() {
    let (_, plan) = plan(&kinds());
    let text = r#"{
        "int32Value": "x", "colour": {"deep": [1]}, "inner": {"words": ["a", 5], "flags": [1, true]},
        "byText": {"a b": "x"}, "choiceText": "a", "choiceNumber": "1", "structure": {"a": 1e999},
        "time": 5, "wrappedInt64": {}, "children": [null, {"": 1}], "boolValue": "true"
    }"#;
    let error = plan.message(text.as_bytes()).unwrap_err();
    let found: Vec<(&str, &str)> = error
        .violations()
        .iter()
        .map(|found| (found.field.as_str(), found.description.as_str()))
        .collect();
    let wanted = [
        ("int32_value", "must be a 32-bit integer"),
        ("colour", "is no field of this request"),
        ("inner.words[1]", "must be a string"),
        ("inner.flags[0]", "must be true or false"),
        ("by_text[\"a b\"]", "must be a 64-bit integer"),
        ("choice_number", "cannot be given beside `choice_text`"),
        ("structure[\"a\"]", "is out of range"),
        ("time", "must be a time by RFC 3339, such as 2026-01-31T12:00:00Z"),
        ("wrapped_int64", "must be an integer"),
        ("children[0]", "must be an object"),
        ("children[1].", "is no field of this request"),
        ("bool_value", "must be true or false"),
    ];
    assert_eq!(found, wanted);
    let many = format!(r#"{{"zigzags": [{}]}}"#, vec!["true"; 500].join(","));
    assert_eq!(plan.message(many.as_bytes()).unwrap_err().violations().len(), 20);
}

/// Texts within one another: what stands around them, how each begins and ends, and what the innermost has.
struct Nested([&'static str; 2], [&'static str; 2], &'static str);

impl Nested {
    fn text(&self, count: usize) -> String {
        let Self([before, after], [open, close], within) = self;
        format!("{before}{}{within}{}{after}", open.repeat(count), close.repeat(count))
    }
}

#[test]
fn requests_nest_as_deep_as_servers_read() {
    let any = [r#""any":{"@type":"x/kinds.v1.Holder","#, "}"];
    let late_any = [r#""any":{"#, r#","@type":"x/kinds.v1.Holder"}"#];
    let rows = [
        (kinds(), 99, Nested(["", ""], [r#"{"inner":"#, "}"], "{}")),
        (kinds(), 49, Nested(["", ""], [r#"{"children":["#, "]}"], "{}")),
        (kinds(), 49, Nested(["", ""], [r#"{"byFlag":{"true":"#, "}}"], "{}")),
        // On the wire these are more: a list stands in a value, and a structure in the entry of a map.
        (kinds(), 49, Nested([r#"{"list":"#, "}"], ["[", "]"], "")),
        (kinds(), 33, Nested([r#"{"structure":"#, "}"], [r#"{"a":"#, "}"], "1")),
        (kinds(), 33, Nested([r#"{"dynamic":"#, "}"], [r#"{"a":"#, "}"], "1")),
        (holder(), 98, Nested(["{", "}"], any, r#""any":{}"#)),
        (holder(), 98, Nested(["{", "}"], late_any, r#""any":{}"#)),
    ];
    let read = move || {
        rows.map(|(message, most, nested)| {
            let ((_, plan), text) = (plan(&message), nested.text(most));
            let wire = plan.message(text.as_bytes());
            let error = plan.message(nested.text(most + 1).as_bytes()).unwrap_err();
            let description = &error.violations()[0].description;
            assert_eq!(description, "is nested deeper than 100 levels", "{text}");
            (message, wire.unwrap_or_else(|fault| panic!("{fault}: {text}")))
        })
    };
    // Half of what a worker has: it is enough, and leaves some for whoever calls.
    let reader = std::thread::Builder::new().stack_size(1024 * 1024).spawn(read).unwrap();
    for (message, wire) in reader.join().unwrap() {
        assert!(DynamicMessage::decode(message, wire).is_ok(), "servers read it");
    }
}

#[test]
fn a_group_has_no_json_in_an_any_either() {
    let table = Arc::new(JsonPlan::compile([holder(), old("Old")], Spelling::Canonical));
    let plan = RequestPlan::new(table, "kinds.v1.Holder", Unknown::Ignore).unwrap();
    let text = br#"{"any": {"@type": "x/kinds.v1.Old", "part": {"number": 1}}}"#;
    let error = plan.message(text).unwrap_err();
    let [found] = error.violations() else { panic!("{error:?}") };
    assert_eq!(found.field, "any");
    assert!(found.description.contains("`kinds.v1.Old.part` is a group"), "{error}");
}

#[test]
fn an_enum_of_proto2_takes_no_number_that_it_does_not_have() {
    let (_, plan) = plan(&old("Sound"));
    plan.message(br#"{"number": 1, "shade": 1}"#).unwrap();
    let error = plan.message(br#"{"number": 1, "shade": 7}"#).unwrap_err();
    assert_eq!(error.message(), "shade: must be one of SHADE_LIGHT, SHADE_DARK");
}

#[test]
fn a_mask_is_in_the_spelling_that_is_spoken() {
    let kinds = kinds();
    for (spelling, takes) in [(Spelling::Contract, true), (Spelling::Canonical, false)] {
        let table = Arc::new(JsonPlan::compile([kinds.clone()], spelling));
        let plan = RequestPlan::new(table, "kinds.v1.Kinds", Unknown::Refuse).unwrap();
        let camel = plan.message(br#"{"mask": "homePage,tags"}"#).unwrap();
        let snake = plan.message(br#"{"mask": "home_page,tags"}"#);
        assert_eq!(snake.ok(), takes.then_some(camel), "{spelling:?}");
    }
}

#[test]
fn a_secret_is_never_repeated() {
    let (_, plan) = plan(&kinds());
    for text in [
        r#"{"int32Value": "hunter2"}"#,
        r#"{"color": "hunter2"}"#,
        r#"{"bytesValue": "hunter2!"}"#,
        r#"{"time": "hunter2"}"#,
        r#"{"stringValue": "hunter2"#,
        r#"{"words": {"a": "hunter2"}}"#,
    ] {
        let error = plan.message(text.as_bytes()).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
