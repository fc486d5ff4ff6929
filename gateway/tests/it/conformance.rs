//! The JSON cases of protobuf's conformance suite, through both directions.

use std::sync::Arc;

use gateway::{JsonPlan, RequestPlan, Spelling, Unknown};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value as Json;

use crate::json::{field_bytes, varint};
use crate::library::descriptors;

const CASES: &str = include_str!("../cases/json.txt");

fn every() -> MessageDescriptor {
    let pool = DescriptorPool::decode(descriptors("cases/v1/cases.proto")).unwrap();
    pool.get_message_by_name("cases.v1.Every").unwrap()
}

/// A JSON text to the wire and back.
struct Both {
    table: Arc<JsonPlan>,
    strict: RequestPlan,
    ignoring: RequestPlan,
}

impl Both {
    fn new() -> Self {
        let table = Arc::new(JsonPlan::compile([every()], Spelling::Canonical));
        let plan = |unknown| RequestPlan::new(Arc::clone(&table), "cases.v1.Every", unknown);
        Self {
            strict: plan(Unknown::Refuse).unwrap(),
            ignoring: plan(Unknown::Ignore).unwrap(),
            table,
        }
    }

    fn written(&self, wire: &[u8]) -> Option<Json> {
        let (mut out, place) = (Vec::new(), self.table.find("cases.v1.Every").unwrap());
        self.table.write(place, wire, &mut out).ok()?;
        Some(serde_json::from_slice(&out).unwrap())
    }
}

#[test]
fn the_cases_of_the_conformance_suite_hold() {
    let both = Both::new();
    let cases: Vec<&str> =
        CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(cases.len() > 300, "the table is whole");
    let wrong: Vec<String> = cases.iter().filter_map(|case| wrong(&both, case)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a case, if anything is.
fn wrong(both: &Both, case: &str) -> Option<String> {
    let (name, rest) = case.split_once(": ").unwrap();
    let (input, wanted) = rest.rsplit_once(" => ").unwrap();
    let input = input.replace('␤', "\n");
    let plan = if name.ends_with("(ignoring)") { &both.ignoring } else { &both.strict };
    let read = plan.message(input.as_bytes());
    let wanted = match wanted {
        "refused" => None,
        "same" => Some(serde_json::from_str(&input).unwrap()),
        wanted => Some(serde_json::from_str(wanted).unwrap()),
    };
    let found = match &read {
        Ok(wire) => Some(both.written(wire).unwrap_or_else(|| panic!("{name} is not written"))),
        Err(_) => None,
    };
    (found != wanted).then(|| format!("{name}: {found:?} instead of {wanted:?}, {:?}", read.err()))
}

#[test]
fn what_the_suite_forbids_to_be_written_is_refused() {
    let both = Both::new();
    let pair = |number, seconds: i64, nanos: i64| {
        field_bytes(number, &[varint(1, seconds as u64), varint(2, nanos as u64)].concat())
    };
    let value =
        |number: f64| field_bytes(306, &[vec![0x11], number.to_le_bytes().to_vec()].concat());
    let mask = |path: &str| field_bytes(303, &field_bytes(1, path.as_bytes()));
    let rows = [
        ("DurationProtoInputTooSmall", pair(301, -315_576_000_001, 0)),
        ("DurationProtoInputTooLarge", pair(301, 315_576_000_001, 0)),
        ("DurationProtoNanosWrongSign", pair(301, 1, -1)),
        ("DurationProtoNanosWrongSignNegativeSecs", pair(301, -1, 1)),
        ("DurationProtoNanosTooSmall", pair(301, -1, -1_000_000_000)),
        ("DurationProtoNanosTooLarge", pair(301, 1, 1_000_000_000)),
        ("TimestampProtoInputTooSmall", pair(302, -62_135_596_801, 0)),
        ("TimestampProtoInputTooLarge", pair(302, 253_402_300_800, 0)),
        ("TimestampProtoNegativeNanos", pair(302, 5000, -1)),
        ("TimestampProtoNanoTooLarge", pair(302, 5000, 1_000_000_000)),
        ("FieldMaskPathsDontRoundTrip", mask("fooBar")),
        ("FieldMaskNumbersDontRoundTrip", mask("foo_3_bar")),
        ("FieldMaskTooManyUnderscore", mask("foo__bar")),
        ("ValueRejectNanNumberValue", value(f64::NAN)),
        ("ValueRejectInfNumberValue", value(f64::INFINITY)),
    ];
    for (name, wire) in rows {
        assert!(DynamicMessage::decode(every(), &*wire).is_ok(), "{name} is no message");
        assert_eq!(both.written(&wire), None, "{name}");
    }
}

#[test]
fn every_nan_is_written_as_one() {
    let both = Both::new();
    for bits in [0x7fa1_2345_u32, 0xffb5_4321] {
        let wire = [vec![0x5d], bits.to_le_bytes().to_vec()].concat();
        assert_eq!(both.written(&wire).unwrap()["optionalFloat"], "NaN");
    }
    for bits in [0x7ffa_1234_5678_9abc_u64, 0xfffb_cba9_8765_4321] {
        let wire = [vec![0x61], bits.to_le_bytes().to_vec()].concat();
        assert_eq!(both.written(&wire).unwrap()["optionalDouble"], "NaN");
    }
}

#[test]
fn an_extension_of_proto2_is_refused_by_its_name() {
    let error = Both::new().ignoring.message(br#"{"[a.b]": 1}"#).unwrap_err();
    assert_eq!(error.violations()[0].field, "[a.b]");
    assert!(error.violations()[0].description.contains("extension"), "{error}");
}

#[test]
fn an_any_is_on_the_wire_as_it_should_be() {
    let plan = Both::new().strict;
    let json = br#"{"optionalAny": {"optionalInt32": 7, "@type": "x.org/y/cases.v1.Every"}}"#;
    let wire = plan.message(json).unwrap();
    let read = DynamicMessage::decode(every(), wire).unwrap();
    let any = read.get_field_by_name("optional_any").unwrap().as_message().unwrap().encode_to_vec();
    let wanted =
        [field_bytes(1, b"x.org/y/cases.v1.Every"), field_bytes(2, &varint(1, 7))].concat();
    assert_eq!(any, wanted);
}
