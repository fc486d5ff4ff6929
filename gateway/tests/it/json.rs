//! Messages from the wire to JSON: the same as a reader of whole messages makes of them.

use gateway::{JsonPlan, Spelling};
use prost::Message as _;
use prost::encoding::{self, WireType, encode_key, encode_varint};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde_json::{Value as Json, json};

use crate::library::descriptors;

/// Messages that are tried; each by a seed that a failure names.
pub(crate) const MESSAGES: u64 = 4000;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(descriptors("kinds/v1/kinds.proto")).unwrap()
}

pub(crate) fn kinds() -> MessageDescriptor {
    pool().get_message_by_name("kinds.v1.Kinds").unwrap()
}

pub(crate) fn holder() -> MessageDescriptor {
    pool().get_message_by_name("kinds.v1.Holder").unwrap()
}

/// A message of those that proto2 left behind.
pub(crate) fn old(name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(descriptors("kinds/v1/old.proto")).unwrap();
    pool.get_message_by_name(&format!("kinds.v1.{name}")).unwrap()
}

fn written(message: &MessageDescriptor, spelling: Spelling, wire: &[u8]) -> Option<String> {
    by(&JsonPlan::compile([message.clone()], spelling), message, wire)
}

pub(crate) fn by(plan: &JsonPlan, message: &MessageDescriptor, wire: &[u8]) -> Option<String> {
    let mut out = b"before ".to_vec();
    plan.write(plan.find(message.full_name()).unwrap(), wire, &mut out).ok()?;
    Some(String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned())
}

/// What prost-reflect makes of it.
fn expected(message: &MessageDescriptor, spelling: Spelling, wire: &[u8]) -> Option<Json> {
    let spelled = spelling == Spelling::Contract;
    let options =
        SerializeOptions::new().use_proto_field_name(spelled).skip_default_fields(!spelled);
    let message = DynamicMessage::decode(message.clone(), wire).ok()?;
    let mut text = Vec::new();
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

#[test]
fn any_message_is_written_as_a_reader_of_whole_messages_writes_it() {
    let kinds = kinds();
    for spelling in [Spelling::Contract, Spelling::Canonical] {
        let plan = JsonPlan::compile([kinds.clone()], spelling);
        for seed in 0..MESSAGES {
            let wire = Random(StdRng::seed_from_u64(seed)).message(&kinds, 3);
            let wanted = expected(&kinds, spelling, &wire);
            assert!(wanted.is_some(), "seed {seed} makes no message");
            let found = by(&plan, &kinds, &wire);
            assert_eq!(found.as_deref().map(parsed), wanted, "seed {seed}, {spelling:?}");
            // As nearly all messages come: the fields by their numbers, each once.
            let orderly = DynamicMessage::decode(kinds.clone(), &*wire).unwrap().encode_to_vec();
            assert_eq!(by(&plan, &kinds, &orderly), found, "seed {seed}, {spelling:?}, in order");
        }
    }
}

#[test]
fn texts_of_all_lengths_have_their_escapes() {
    let kinds = kinds();
    let plan = JsonPlan::compile([kinds.clone()], Spelling::Canonical);
    for length in 0..40 {
        for special in ["x", "\"", "\\", "\u{0}", "\u{1f}", "\u{7f}", "\u{80}", "\u{ffff}"] {
            for at in 0..=length {
                let text = format!("{}{special}{}", " ".repeat(at), "~".repeat(length - at));
                let written = by(&plan, &kinds, &field_bytes(14, text.as_bytes())).unwrap();
                let wanted = serde_json::to_string(&text).unwrap();
                assert_eq!(
                    written.strip_prefix("{\"stringValue\":"),
                    Some(&*format!("{wanted}}}"))
                );
            }
        }
    }
}

#[test]
fn damaged_bytes_are_refused_or_make_sound_json() {
    let kinds = kinds();
    let plan = JsonPlan::compile([kinds.clone()], Spelling::Contract);
    let (mut refused, mut read) = (0, 0);
    for seed in 0..MESSAGES {
        let mut random = Random(StdRng::seed_from_u64(seed));
        let mut wire = random.message(&kinds, 2);
        for _ in 0..random.0.random_range(1..4) {
            random.damage(&mut wire);
        }
        match by(&plan, &kinds, &wire) {
            Some(text) => {
                parsed(&text);
                read += 1;
            }
            None => refused += 1,
        }
    }
    assert!(refused > 100 && read > 100, "{refused} refused, {read} read");
}

#[test]
fn what_json_cannot_say_is_refused() {
    let kinds = kinds();
    let time = |seconds: i64| field_bytes(60, &varint(1, seconds as u64));
    let nested = |levels| (0..levels).fold(Vec::new(), |inner, _| field_bytes(17, &inner));
    assert!(written(&kinds, Spelling::Contract, &nested(100)).is_some());
    let rows: [(&str, Vec<u8>); 10] = [
        ("a time after the year 9999", time(253_402_300_800)),
        ("a time before the year 1", time(-62_135_596_801)),
        ("the least number of seconds", field_bytes(61, &varint(1, i64::MIN as u64))),
        ("a duration of two signs", field_bytes(61, &[varint(1, 1), varint(2, u64::MAX)].concat())),
        ("a text that is not UTF-8", field_bytes(14, b"\xff")),
        ("a number where a text belongs", varint(14, 1)),
        ("a mask that does not come back", field_bytes(62, &field_bytes(1, b"someField"))),
        (
            "an endless number",
            vec![0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        ("half a message", vec![0x72, 5, b'x']),
        ("more than a hundred messages within one", nested(101)),
    ];
    for (what, wire) in rows {
        assert_eq!(written(&kinds, Spelling::Contract, &wire), None, "{what}");
    }
}

#[test]
fn numbers_beyond_json_are_text_and_fields_come_by_their_numbers() {
    let kinds = kinds();
    let mut wire = Vec::new();
    encoding::double::encode(1, &f64::NEG_INFINITY, &mut wire);
    encoding::float::encode(2, &0.1, &mut wire);
    wire.extend(field_bytes(67, &{
        let mut inner = Vec::new();
        encoding::double::encode(1, &f64::NAN, &mut inner);
        inner
    }));
    wire.extend(varint(6, u64::MAX));
    wire.extend(field_bytes(
        61,
        &[varint(1, u64::MAX), varint(2, -500_000_000_i64 as u64)].concat(),
    ));
    wire.extend(field_bytes(1000, b"x"));
    let text = written(&kinds, Spelling::Canonical, &wire).unwrap();
    let wanted = r#"{"doubleValue":"-Infinity","floatValue":0.1,"uint64Value":"18446744073709551615","span":"-1.500s","wrappedDouble":"NaN","other \"name\"":"x"}"#;
    assert_eq!(text, wanted);
}

#[test]
fn an_any_is_written_by_the_type_that_it_names() {
    let holder = holder();
    let any = |url: &str, value: &[u8]| {
        field_bytes(1, &[field_bytes(1, url.as_bytes()), field_bytes(2, value)].concat())
    };
    let known = any("type.googleapis.com/kinds.v1.Kinds", &varint(3, 7));
    let text = written(&holder, Spelling::Canonical, &known).unwrap();
    let wanted =
        json!({ "any": { "@type": "type.googleapis.com/kinds.v1.Kinds", "int32Value": 7 } });
    assert_eq!(parsed(&text), wanted);
    assert_eq!(written(&holder, Spelling::Canonical, &any("type.googleapis.com/x.Y", b"")), None);
}

#[test]
fn a_group_of_proto2_has_no_json_and_is_named() {
    let plan = JsonPlan::compile(["Keeper", "Sound"].map(old), Spelling::Contract);
    let refusal = |name: &str| plan.refusal(plan.find(name).unwrap());
    let reason = refusal("kinds.v1.Keeper").unwrap();
    assert!(reason.contains("`kinds.v1.Old.part` is a group"), "{reason}");
    assert_eq!(refusal("kinds.v1.Sound"), None);
}

pub(crate) fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut wire = Vec::new();
    encoding::uint64::encode(number, &value, &mut wire);
    wire
}

pub(crate) fn field_bytes(number: u32, value: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    encoding::bytes::encode(number, &value.to_vec(), &mut wire);
    wire
}

fn scalar(value: u64) -> (WireType, Vec<u8>) {
    let mut wire = Vec::new();
    encode_varint(value, &mut wire);
    (WireType::Varint, wire)
}

/// Whether values of a field may stand in one, whatever the contract prefers.
fn packs(field: &FieldDescriptor) -> bool {
    let alone = matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Message(_));
    field.is_list() && !alone
}

/// Messages as any writer may encode them: fields in any order and more than once, numbers packed
/// and not, and fields that the contract does not know.
pub(crate) struct Random(pub(crate) StdRng);

impl Random {
    pub(crate) fn message(&mut self, message: &MessageDescriptor, depth: u32) -> Vec<u8> {
        let fields: Vec<FieldDescriptor> = message.fields().collect();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for _ in 0..self.0.random_range(0..12) {
            let Some(field) = fields.choose(&mut self.0) else { break };
            let nests = matches!(field.kind(), Kind::Message(_));
            if depth > 0 || !nests {
                parts.push(self.field(field, depth));
            }
        }
        if self.0.random_bool(0.2) {
            parts.push(field_bytes(900, b"not known"));
            parts.push(varint(901, self.0.next_u64()));
        }
        parts.shuffle(&mut self.0);
        parts.concat()
    }

    fn field(&mut self, field: &FieldDescriptor, depth: u32) -> Vec<u8> {
        let (kind, number) = (field.kind(), field.number());
        if packs(field) && self.0.random_bool(0.5) {
            let count = self.0.random_range(0..4);
            let values: Vec<Vec<u8>> = (0..count).map(|_| self.value(&kind, depth).1).collect();
            return field_bytes(number, &values.concat());
        }
        let (wire_type, value) = self.value(&kind, depth);
        match wire_type {
            WireType::LengthDelimited => field_bytes(number, &value),
            _ => {
                let mut wire = Vec::new();
                encode_key(number, wire_type, &mut wire);
                wire.extend(value);
                wire
            }
        }
    }

    fn value(&mut self, kind: &Kind, depth: u32) -> (WireType, Vec<u8>) {
        match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
                let bits = match kind {
                    Kind::Double => self.double().to_bits(),
                    _ => self.number(),
                };
                (WireType::SixtyFourBit, bits.to_le_bytes().to_vec())
            }
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
                let bits = match kind {
                    Kind::Float => (self.double() as f32).to_bits(),
                    _ => self.number() as u32,
                };
                (WireType::ThirtyTwoBit, bits.to_le_bytes().to_vec())
            }
            Kind::String => (WireType::LengthDelimited, self.text().into_bytes()),
            Kind::Bytes => {
                let length = self.0.random_range(0..20);
                (WireType::LengthDelimited, (0..length).map(|_| self.0.random()).collect())
            }
            Kind::Message(message) => (WireType::LengthDelimited, self.inner(message, depth - 1)),
            Kind::Bool => scalar(u64::from(self.0.random_bool(0.5))),
            Kind::Enum(described) if described.full_name() == "google.protobuf.NullValue" => {
                scalar(0)
            }
            Kind::Enum(_) => {
                let number = *[0_i64, 1, 7, -3, 99].choose(&mut self.0).unwrap();
                scalar(number as u64)
            }
            Kind::Int32 => {
                let number = i64::from(self.number() as i32);
                scalar(number as u64)
            }
            Kind::Uint32 | Kind::Sint32 => {
                let number = u64::from(self.number() as u32);
                scalar(number)
            }
            Kind::Int64 | Kind::Uint64 | Kind::Sint64 => {
                let number = self.number();
                scalar(number)
            }
        }
    }

    /// A message within another: the well-known ones hold what JSON can say.
    fn inner(&mut self, message: &MessageDescriptor, depth: u32) -> Vec<u8> {
        match message.full_name().strip_prefix("google.protobuf.").unwrap_or_default() {
            "Timestamp" => {
                let seconds = self.0.random_range(-62_135_596_800..=253_402_300_799_i64);
                [varint(1, seconds as u64), varint(2, self.nanos())].concat()
            }
            "Duration" => {
                let seconds = self.0.random_range(0..=315_576_000_000_i64);
                [varint(1, seconds as u64), varint(2, self.nanos())].concat()
            }
            "FieldMask" => {
                let paths = ["name", "home_page.first_line", "a.b", "tags"];
                let count = self.0.random_range(0..4);
                let chosen = paths.sample(&mut self.0, count);
                chosen.map(|path| field_bytes(1, path.as_bytes())).collect::<Vec<_>>().concat()
            }
            _ => self.message(message, depth),
        }
    }

    fn nanos(&mut self) -> u64 {
        *[0, 1, 500_000_000, 123_456_000, 999_999_999].choose(&mut self.0).unwrap()
    }

    fn number(&mut self) -> u64 {
        match self.0.random_range(0..4) {
            0 => 0,
            1 => self.0.random_range(0..300),
            2 => u64::MAX,
            _ => self.0.random(),
        }
    }

    /// One that is finite, and zero without a sign: there the two writers differ, and the
    /// specification is with this one.
    fn double(&mut self) -> f64 {
        *[0.0, 1.0, -0.5, 0.1, 3.4e38, 1e-7, 123_456_789.0].choose(&mut self.0).unwrap()
    }

    fn text(&mut self) -> String {
        let texts = ["", "a", "é\u{1F600}", "\"quoted\"", "line\nand\ttab\u{1}", "b", "\u{2028}</"];
        (*texts.choose(&mut self.0).unwrap()).to_owned()
    }

    fn damage(&mut self, wire: &mut Vec<u8>) {
        if wire.is_empty() {
            return wire.push(self.0.random());
        }
        let at = self.0.random_range(0..wire.len());
        match self.0.random_range(0..3) {
            0 => wire[at] = self.0.random(),
            1 => wire.truncate(at),
            _ => wire.insert(at, self.0.random()),
        }
    }

    /// Changes, takes out, doubles or puts in what JSON is made of.
    pub(crate) fn damage_text(&mut self, text: &mut Vec<u8>) {
        const PIECES: [&str; 22] = [
            "null", "true", "\"", "\\", ",", ":", "{", "}", "[", "]", "0", "-", ".", "e5", " ",
            "\n", "\"x\"", "9", "1.5", "\u{e9}", "\\u0061", "Z",
        ];
        let at = self.0.random_range(0..=text.len());
        match self.0.random_range(0..4) {
            0 => drop(text.splice(at..at, PIECES.choose(&mut self.0).unwrap().bytes())),
            1 if at < text.len() => drop(text.remove(at)),
            2 if at < text.len() => text[at] = self.0.random_range(0x20..0x7f),
            _ => {
                let end = self.0.random_range(at..=text.len());
                let part = text[at..end.min(at + 20)].to_vec();
                text.splice(at..at, part);
            }
        }
    }
}
