//! Strict JSON: text must be UTF-8, keys appear once, nesting is bounded, and every error names
//! the field where it happened.

use std::fmt;

use mainstay::kernel::error::{Error, INVALID_ARGUMENT, Result};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::MALFORMED_JSON;

/// The deepest nesting that is read. A level of a `google.protobuf.Struct` is three levels on the
/// wire, where servers read a hundred.
const DEEPEST: usize = 30;

/// Parses a JSON text.
pub(crate) fn parse(text: &[u8]) -> Result<Value> {
    if let Err(fault) = std::str::from_utf8(text) {
        let at = fault.valid_up_to();
        return Err(Error::new(MALFORMED_JSON, format!("the body is not UTF-8 at byte {at}")));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let read = Strict { depth: 0 }.deserialize(tracked);
    match read.and_then(|value| reader.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(fault) => Err(explain(&fault, &track.path().to_string())),
    }
}

fn explain(fault: &serde_json::Error, path: &str) -> Error {
    let named = path != "." && !path.is_empty();
    if fault.is_data() {
        let reason = without_position(&fault.to_string());
        return if named {
            Error::invalid(path, reason)
        } else {
            Error::new(INVALID_ARGUMENT, reason)
        };
    }
    let reason = format!("malformed JSON: {fault}");
    if named {
        Error::new(MALFORMED_JSON, format!("{reason}, at `{path}`")).field(path, reason)
    } else {
        Error::new(MALFORMED_JSON, reason)
    }
}

/// Without the ` at line 1 column 7` that says little beside the name of a field.
fn without_position(reason: &str) -> String {
    reason.rsplit_once(" at line ").map_or(reason, |(reason, _)| reason).to_owned()
}

/// Reads one value at some depth.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> std::result::Result<Self, E> {
        if self.depth >= DEEPEST {
            return Err(E::custom(format!("is nested deeper than {DEEPEST} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> std::result::Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> std::result::Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut fields = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            if fields.contains_key(&key) {
                from.next_value_seed(Refused("appears twice"))?;
            }
            let value = from.next_value_seed(inner)?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

/// Fails where a value would stand, so that the path tracked names its key.
struct Refused(&'static str);

impl<'de> DeserializeSeed<'de> for Refused {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> std::result::Result<(), D::Error> {
        Err(de::Error::custom(self.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn sound_json_is_read() {
        let value = parse(br#" {"a": [1, -2, 2.5, null, true], "b": {"c": "\u00e9"}} "#).unwrap();
        assert_eq!(value, serde_json::json!({"a": [1, -2, 2.5, null, true], "b": {"c": "é"}}));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let deep = format!("{}1{}", "[".repeat(31), "]".repeat(31));
        let rows: [(&[u8], &str, &str); 8] = [
            (br#"{"user": {"name": }}"#, "MALFORMED_JSON", "user.name"),
            (br#"{"a": 1"#, "MALFORMED_JSON", ""),
            (br#"{"a": 1} x"#, "MALFORMED_JSON", ""),
            (b"", "MALFORMED_JSON", ""),
            (b"{\"a\": \"\xff\"}", "MALFORMED_JSON", ""),
            (br#"{"a": "\ud800"}"#, "MALFORMED_JSON", "a"),
            (br#"{"a": {"b": 1, "b": 2}}"#, "INVALID_ARGUMENT", "a.b"),
            (deep.as_bytes(), "INVALID_ARGUMENT", "[0]"),
        ];
        for (text, code, field) in rows {
            let error = parse(text).unwrap_err();
            let named = error.violations().first().map(|found| found.field.as_str());
            assert_eq!(error.code().reason, code, "{error}");
            assert!(named.unwrap_or_default().starts_with(field), "{error}: {named:?}");
        }
    }
}
