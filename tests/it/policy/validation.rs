//! The rules of fields, over wire bytes.

use std::sync::Arc;

use mainstay::contract::proto::mainstay::identity::v1::{UpdateUserRequest, User};
use mainstay::kernel::error::INVALID_ARGUMENT;
use mainstay::kernel::policy::{MethodPolicy, PolicyTable};
use prost::Message as _;
use prost_reflect::DescriptorPool;
use serde_json::{Value, json};

use super::{compile, wire};

/// A method whose request has these fields.
struct Sample {
    pool: DescriptorPool,
    method: Arc<MethodPolicy>,
}

fn sample(fields: &str) -> Sample {
    let pool = compile(&format!(
        "service Sample {{ rpc Do(Request) returns (Request) {{
            option idempotency_level = NO_SIDE_EFFECTS;
            option (mainstay.policy.v1.method) = {{ authenticated: true }};
        }} }}
        message Request {{ {fields} }}
        message Inner {{
            string name = 1 [(buf.validate.field).string.min_len = 2];
            Inner inner = 2; repeated string tags = 3 [(buf.validate.field).repeated.max_items = 2];
        }}
        enum Kind {{ KIND_UNSPECIFIED = 0; KIND_A = 1; KIND_B = 5; }}"
    ));
    let table = PolicyTable::compile(&pool).unwrap();
    let method = table.method("/mainstay.sample.v1.Sample/Do").unwrap().clone();
    Sample { pool, method }
}

impl Sample {
    fn json(&self, json: &Value) -> Vec<String> {
        let bytes = wire(&self.pool, "mainstay.sample.v1.Request", json);
        // Who passes over what has no rules finds the same.
        let [all, ruled] =
            [self.method.validate(&bytes), self.method.validation.validate_written(&bytes)]
                .map(|checked| checked.map_err(|error| error.to_string()));
        assert_eq!(all, ruled);
        self.bytes(&bytes)
    }

    /// The violations, as `field: description`.
    fn bytes(&self, bytes: &[u8]) -> Vec<String> {
        let Err(error) = self.method.validate(bytes) else { return Vec::new() };
        assert!(error.is(&INVALID_ARGUMENT));
        let violations: Vec<_> = error
            .violations()
            .iter()
            .map(|violation| format!("{}: {}", violation.field, violation.description))
            .collect();
        assert!(!violations.is_empty(), "{error}");
        violations
    }
}

/// One field, and for each value what is wrong with it; nothing where the text is empty.
fn assert_rules(field: &str, cases: &[(Value, &str)]) {
    let sample = sample(field);
    for (value, expected) in cases {
        let json = if value.is_null() { json!({}) } else { json!({ "x": value }) };
        let found = sample.json(&json).join(" | ");
        assert_eq!(found, *expected, "{field} with {value}");
    }
}

#[test]
fn strings() {
    let rules =
        |rules: &str| format!("string x = 1 [(buf.validate.field).string = {{ {rules} }}];");
    let cases: &[(&str, &[(&str, &str)])] = &[
        (
            "min_len: 2 max_len: 3",
            &[
                ("äö", ""),
                ("äöü", ""),
                ("ä", "x: must be at least 2 characters long"),
                ("", "x: must be at least 2 characters long"),
                ("abcd", "x: must be at most 3 characters long"),
            ],
        ),
        ("len: 2", &[("äö", ""), ("a", "x: must be exactly 2 characters long")]),
        (
            "min_bytes: 3 max_bytes: 4",
            &[
                ("äö", ""),
                ("ä", "x: must be at least 3 bytes long"),
                ("äöü", "x: must be at most 4 bytes long"),
            ],
        ),
        ("pattern: '^[a-z]+$'", &[("abc", ""), ("aBc", "x: must match the pattern ^[a-z]+$")]),
        (
            "prefix: 'a' suffix: 'z'",
            &[("a-z", ""), ("b", "x: must begin with \"a\" | x: must end with \"z\"")],
        ),
        (
            "contains: 'b' not_contains: 'c'",
            &[("b", ""), ("c", "x: must contain \"b\" | x: must not contain \"c\"")],
        ),
        ("in: 'a' in: 'b'", &[("b", ""), ("c", "x: must be one of \"a\", \"b\"")]),
        ("not_in: 'a'", &[("b", ""), ("a", "x: must be none of \"a\"")]),
        ("const: 'a'", &[("a", ""), ("b", "x: must be \"a\"")]),
        ("email: true", &[("a@b.c", ""), ("a", "x: must be a valid e-mail address")]),
        (
            "uuid: true",
            &[("0190c2a4-5b1f-7c3a-9b1e-2f3a4b5c6d7e", ""), ("", "x: must be a valid UUID")],
        ),
        ("uri: true", &[("https://a/b", ""), ("a", "x: must be a valid absolute URI")]),
        ("hostname: true", &[("a.b", ""), ("a_b", "x: must be a valid host name")]),
        ("ip: true", &[("::1", ""), ("1.2", "x: must be a valid IP address")]),
    ];
    for (stated, values) in cases {
        let values: Vec<_> = values.iter().map(|(value, text)| (json!(value), *text)).collect();
        assert_rules(&rules(stated), &values);
    }
}

#[test]
fn numbers_and_other_scalars() {
    assert_rules(
        "int32 x = 1 [(buf.validate.field).int32 = { gte: 0 lte: 200 }];",
        &[
            (json!(0), ""),
            (json!(200), ""),
            (json!(-1), "x: must be at least 0 and at most 200"),
            (json!(201), "x: must be at least 0 and at most 200"),
        ],
    );
    assert_rules(
        "int64 x = 1 [(buf.validate.field).int64 = { gt: 10 lt: 5 }];",
        &[
            (json!(4), ""),
            (json!(11), ""),
            (json!(10), "x: must be greater than 10 or less than 5"),
            (json!(5), "x: must be greater than 10 or less than 5"),
        ],
    );
    assert_rules(
        "uint64 x = 1 [(buf.validate.field).uint64 = { gt: 1 }];",
        &[(json!(u64::MAX), ""), (json!(1), "x: must be greater than 1")],
    );
    assert_rules(
        "uint32 x = 1 [(buf.validate.field).uint32 = { in: 1 in: 2 not_in: 2 }];",
        &[(json!(1), ""), (json!(2), "x: must be none of 2"), (json!(0), "x: must be one of 1, 2")],
    );
    assert_rules(
        "double x = 1 [(buf.validate.field).double = { finite: true lt: 2.5 }];",
        &[
            (json!(2.4), ""),
            (json!(2.5), "x: must be less than 2.5"),
            (json!("NaN"), "x: must be less than 2.5 | x: must be finite"),
            (json!("-Infinity"), "x: must be finite"),
        ],
    );
    assert_rules(
        "float x = 1 [(buf.validate.field).float = { const: 1.5 }];",
        &[(json!(1.5), ""), (json!(1.25), "x: must be 1.5")],
    );
    assert_rules(
        "bool x = 1 [(buf.validate.field).bool.const = true];",
        &[(json!(true), ""), (Value::Null, "x: must be true")],
    );
    assert_rules(
        "bytes x = 1 [(buf.validate.field).bytes = { min_len: 1 max_len: 2 }];",
        &[(json!("AA=="), ""), (Value::Null, "x: must be at least 1 bytes long")],
    );
    assert_rules(
        "Kind x = 1 [(buf.validate.field).enum = { defined_only: true not_in: 0 }];",
        &[
            (json!("KIND_B"), ""),
            (json!(3), "x: must be one of the defined values"),
            (Value::Null, "x: must be none of 0"),
        ],
    );
}

#[test]
fn presence_decides_whether_an_absent_field_is_checked() {
    let (short, unset) = ("x: must be at least 2 characters long", "x: must be set");
    let min_len = "(buf.validate.field).string.min_len = 2";
    let if_zero = "(buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE";
    let always = "(buf.validate.field).ignore = IGNORE_ALWAYS";
    let required = "(buf.validate.field).required = true";
    let cases = [
        // Implicit presence: zero is a value like any other.
        (format!("string x = 1 [{min_len}];"), Value::Null, short),
        (format!("string x = 1 [{min_len}, {if_zero}];"), Value::Null, ""),
        (format!("string x = 1 [{min_len}, {if_zero}];"), json!("a"), short),
        (format!("string x = 1 [{min_len}, {always}];"), json!("a"), ""),
        (format!("string x = 1 [{min_len}, {required}];"), Value::Null, unset),
        // Explicit presence: absent is not zero.
        (format!("optional string x = 1 [{min_len}];"), Value::Null, ""),
        (format!("optional string x = 1 [{min_len}];"), json!(""), short),
        (format!("optional string x = 1 [{min_len}, {if_zero}];"), json!(""), ""),
        (format!("optional string x = 1 [{required}];"), Value::Null, unset),
        (format!("optional string x = 1 [{required}];"), json!(""), ""),
        (format!("oneof o {{ string x = 1 [{min_len}]; string y = 2; }}"), Value::Null, ""),
        (format!("oneof o {{ string x = 1 [{min_len}]; string y = 2; }}"), json!(""), short),
        // Messages, lists, maps.
        (format!("Inner x = 1 [{required}];"), Value::Null, unset),
        ("Inner x = 1;".to_owned(), Value::Null, ""),
        (format!("Inner x = 1 [{always}];"), json!({ "name": "a" }), ""),
        (format!("repeated string x = 1 [{required}];"), Value::Null, unset),
        (
            "repeated string x = 1 [(buf.validate.field).repeated.min_items = 1];".to_owned(),
            Value::Null,
            "x: must have at least 1 items",
        ),
        (
            format!(
                "repeated string x = 1 [(buf.validate.field).repeated.min_items = 1, {if_zero}];"
            ),
            Value::Null,
            "",
        ),
        (format!("map<string, string> x = 1 [{required}];"), Value::Null, unset),
    ];
    for (field, value, expected) in cases {
        assert_rules(&field, &[(value, expected)]);
    }
}

#[test]
fn lists_maps_and_messages_name_the_way_to_the_fault() {
    assert_rules(
        "repeated string x = 1 [(buf.validate.field).repeated = {
            max_items: 3 unique: true items: { string: { min_len: 2 } } }];",
        &[
            (json!(["aa", "bb"]), ""),
            (
                json!(["aa", "b", "aa"]),
                "x: must not hold an item twice | x[1]: must be at least 2 characters long",
            ),
            (json!(["aa", "bb", "cc", "dd"]), "x: must have at most 3 items"),
        ],
    );
    assert_rules(
        "repeated int32 x = 1 [(buf.validate.field).repeated.items = {
            ignore: IGNORE_IF_ZERO_VALUE int32: { gt: 5 } }];",
        &[(json!([0, 6]), ""), (json!([0, 5]), "x[1]: must be greater than 5")],
    );
    assert_rules(
        "map<string, int32> x = 1 [(buf.validate.field).map = { max_pairs: 1
            keys: { string: { max_len: 1 } } values: { int32: { gt: 0 } } }];",
        &[
            (json!({ "a": 1 }), ""),
            (json!({ "aa": 1 }), "x[\"aa\"]: must be at most 1 characters long"),
            (json!({ "a": 0 }), "x[\"a\"]: must be greater than 0"),
            (json!({ "a": 1, "b": 1 }), "x: must have at most 1 pairs"),
        ],
    );
    let deep = json!({ "name": "ok", "inner": { "name": "x", "tags": ["1", "2", "3"] } });
    assert_rules(
        "Inner x = 1;",
        &[(
            deep,
            "x.inner.name: must be at least 2 characters long | x.inner.tags: must have at most 2 items",
        )],
    );
    assert_rules(
        "map<int32, Inner> x = 1;",
        &[(json!({ "7": { "name": "a" } }), "x[7].name: must be at least 2 characters long")],
    );
    assert_rules(
        "repeated Inner x = 1;",
        &[(json!([{ "name": "ok" }, {}]), "x[1].name: must be at least 2 characters long")],
    );
}

#[test]
fn every_violation_is_reported_within_reason() {
    let sample =
        sample("repeated string x = 1 [(buf.validate.field).repeated.items.string.min_len = 2];");
    let many = vec!["a"; 10_000];
    let json = json!({ "x": many });
    assert_eq!(sample.json(&json).len(), 50);
    let bytes = wire(&sample.pool, "mainstay.sample.v1.Request", &json);
    let error = sample.method.validate(&bytes).unwrap_err();
    assert_eq!(error.message(), "x[0]: must be at least 2 characters long (and 49 more)");
}

#[test]
fn what_is_no_message_is_the_callers_fault() {
    let sample =
        sample("string x = 1; Inner inner = 2; repeated int32 numbers = 3; fixed32 f = 4;");
    let cases: [(&[u8], &str); 8] = [
        (b"\x0a\x02\xff\xfe", "x must be valid UTF-8"),
        (b"\x12\x04\x0a\x02\xff\xfe", "inner.name must be valid UTF-8"),
        (b"\x12\x03\x0a\x05a", "ends in the middle"),
        (b"\x08\x01", "x has the wrong wire type"),
        (b"\x10\x01", "inner has the wrong wire type"),
        (b"\x1a\x02\x01\x80", "ends in the middle"),
        (b"\x20\x01", "f has the wrong wire type"),
        (b"\x0a\x01a\x0f", "wire type 7"),
    ];
    for (bytes, expected) in cases {
        let error = sample.method.validate(bytes).unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT) && error.message().contains(expected), "{error}");
    }
    let bad_text = sample.method.validate(b"\x0a\x02\xff\xfe").unwrap_err();
    assert_eq!(bad_text.violations()[0].field, "x");
}

#[test]
fn nothing_hides_behind_the_wire_format() {
    let text = |bytes: &[u8]| [&[0x0a, bytes.len() as u8], bytes].concat();
    let inner = |bytes: &[u8]| [&[0x0a, bytes.len() as u8], bytes].concat();
    let tags = |count: usize| [0x1a, 0x01, b't'].repeat(count);

    let single = sample("string x = 1 [(buf.validate.field).string.min_len = 2];");
    assert!(single.bytes(&[text(b"a"), text(b"ok")].concat()).is_empty(), "the last value counts");
    assert_eq!(single.bytes(&[text(b"ok"), text(b"a")].concat()).len(), 1);
    assert_eq!(single.bytes(b"\x12\x02ok").len(), 1, "an unknown field fills no other");

    // A message in two pieces is their merger: neither has three tags, together they have.
    let nested = sample("Inner x = 1;");
    let pieces = [inner(&[text(b"ok"), tags(2)].concat()), inner(&tags(1))].concat();
    assert_eq!(nested.bytes(&pieces), ["x.tags: must have at most 2 items"]);
    assert!(nested.method.validate(&[inner(b"\x0a\x02o"), inner(b"k")].concat()).is_err());

    let numbers =
        sample("repeated int32 x = 1 [(buf.validate.field).repeated.items.int32.gt = 5];");
    let mixed = [0x0a, 0x02, 0x06, 0x04, 0x08, 0x05];
    assert_eq!(numbers.bytes(&mixed).len(), 2, "packed and unpacked items are items");

    let either =
        sample("oneof o { string x = 1 [(buf.validate.field).string.min_len = 2]; Inner y = 2; }");
    assert!(either.bytes(b"\x0a\x01a\x12\x04\x0a\x02ok").is_empty(), "y took the place of x");
    assert_eq!(either.bytes(b"\x12\x02\x0a\x00\x0a\x01a").len(), 1, "x took the place of y");
    assert!(either.method.validate(b"\x12\x02\x0a\x05\x0a\x02ok").is_err(), "y was unreadable");

    let deep = (0..200).fold(text(b"ok"), |inner, _| {
        let mut bytes = vec![0x12];
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        [bytes, inner, text(b"ok")].concat()
    });
    let mut request = vec![0x0a];
    prost::encoding::encode_varint(deep.len() as u64, &mut request);
    request.extend(deep);
    let error = nested.method.validate(&request).unwrap_err();
    assert!(error.message().contains("nested too deeply"), "{error}");
}

/// What passes here must pass the generated decoders, or a bad request would be our fault there.
#[test]
fn validation_and_decoders_agree_on_what_a_message_is() {
    let table = PolicyTable::compile(mainstay::contract::pool()).unwrap();
    let method = table.method("/mainstay.identity.v1.UserService/UpdateUser").unwrap();
    let user = User {
        id: "u".into(),
        display_name: "Ada".into(),
        create_time: Some(prost_types::Timestamp { seconds: -1, nanos: 5 }),
        ..User::default()
    };
    let request = UpdateUserRequest {
        user_id: "0190c2a4-5b1f-7c3a-9b1e-2f3a4b5c6d7e".into(),
        user: Some(user),
        update_mask: Some(prost_types::FieldMask { paths: vec!["locale".into(), "bio".into()] }),
    };
    let sound = request.encode_to_vec();
    method.validate(&sound).unwrap();
    let (mut seed, mut readable, mut unreadable) = (42_u64, 0, 0);
    let mut random = |below: usize| {
        // Knuth's MMIX constants: any generator does, as long as it is always the same.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..20_000 {
        let mut bytes = sound.clone();
        for _ in 0..=random(3) {
            match random(3) {
                0 => bytes[random(sound.len())] = random(256) as u8,
                1 => bytes.truncate(sound.len() - random(8)),
                _ => bytes.insert(random(bytes.len()), random(256) as u8),
            }
            bytes.resize(bytes.len().max(sound.len()), 0);
        }
        let decoded = UpdateUserRequest::decode(bytes.as_slice());
        let is_malformed = method
            .validate(&bytes)
            .is_err_and(|error| error.message().contains("no valid protobuf message"));
        assert_eq!(decoded.is_err(), is_malformed, "{bytes:02x?}: {decoded:?}");
        *if is_malformed { &mut unreadable } else { &mut readable } += 1;
    }
    assert!(readable > 1_000 && unreadable > 1_000, "{readable} readable, {unreadable} not");
}
