//! Scalars of proto3 JSON and of paths and queries: numbers, text, bytes, enums.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{EnumDescriptor, Kind, MapKey, Value};
use serde_json::Value as Json;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads a scalar from JSON. The message of an error says what was expected; it never repeats the
/// value, which may be a secret.
pub(crate) fn from_json(kind: &Kind, json: &Json) -> Result<Value, String> {
    match (kind, json) {
        (Kind::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (Kind::String, Json::String(text)) => Ok(Value::String(text.clone())),
        (Kind::Bytes, Json::String(text)) => bytes(text),
        (Kind::Enum(kind), Json::String(text)) => enum_named(kind, text),
        (Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_), _) => Err(expected(kind)),
        (_, Json::Number(number)) => from_number(kind, number),
        (Kind::Enum(_), _) => Err(expected(kind)),
        (_, Json::String(text)) => number_from_text(kind, text),
        _ => Err(expected(kind)),
    }
}

/// Reads a scalar from the text of a path or query.
pub(crate) fn from_text(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(expected(kind)),
        },
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bytes => bytes(text),
        Kind::Enum(descriptor) => match text.parse::<i32>() {
            Ok(number) => enum_numbered(descriptor, number),
            Err(_) => enum_named(descriptor, text),
        },
        Kind::Message(_) => Err(expected(kind)),
        _ => number_from_text(kind, text),
    }
}

/// Reads the key of a map.
pub(crate) fn map_key(kind: &Kind, text: &str) -> Result<MapKey, String> {
    match from_text(kind, text)? {
        Value::Bool(value) => Ok(MapKey::Bool(value)),
        Value::I32(value) => Ok(MapKey::I32(value)),
        Value::I64(value) => Ok(MapKey::I64(value)),
        Value::U32(value) => Ok(MapKey::U32(value)),
        Value::U64(value) => Ok(MapKey::U64(value)),
        Value::String(value) => Ok(MapKey::String(value)),
        _ => Err("cannot be the key of a map".into()),
    }
}

fn from_number(kind: &Kind, number: &serde_json::Number) -> Result<Value, String> {
    let whole = || -> Result<i128, String> {
        if let Some(value) = number.as_i64() {
            return Ok(value.into());
        }
        if let Some(value) = number.as_u64() {
            return Ok(value.into());
        }
        // `1e3` and `5.0` are integers in proto3 JSON; what a double cannot hold exactly is not.
        let value = number.as_f64().ok_or_else(|| expected(kind))?;
        let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
        if exact { Ok(value as i128) } else { Err(expected(kind)) }
    };
    match kind {
        Kind::Double => Ok(Value::F64(number.as_f64().ok_or_else(|| expected(kind))?)),
        Kind::Float => float(number.as_f64().ok_or_else(|| expected(kind))?),
        Kind::Enum(descriptor) => {
            let number = i32::try_from(whole()?).map_err(|_| expected(kind))?;
            enum_numbered(descriptor, number)
        }
        _ => integer(kind, whole()?),
    }
}

fn number_from_text(kind: &Kind, text: &str) -> Result<Value, String> {
    match (kind, text) {
        (Kind::Double | Kind::Float, "NaN") => from_double(kind, f64::NAN),
        (Kind::Double | Kind::Float, "Infinity") => from_double(kind, f64::INFINITY),
        (Kind::Double | Kind::Float, "-Infinity") => from_double(kind, f64::NEG_INFINITY),
        _ => {
            // JSON's grammar of numbers: no `+`, no spaces, no hexadecimal, no `inf`.
            let number: serde_json::Number = match text.as_bytes().first() {
                Some(b'-' | b'0'..=b'9') => {
                    serde_json::from_str(text).map_err(|_| expected(kind))?
                }
                _ => return Err(expected(kind)),
            };
            from_number(kind, &number)
        }
    }
}

fn from_double(kind: &Kind, value: f64) -> Result<Value, String> {
    Ok(match kind {
        Kind::Float => Value::F32(value as f32),
        _ => Value::F64(value),
    })
}

fn float(value: f64) -> Result<Value, String> {
    let narrow = value as f32;
    if narrow.is_finite() { Ok(Value::F32(narrow)) } else { Err("is out of range".into()) }
}

fn integer(kind: &Kind, value: i128) -> Result<Value, String> {
    let out_of_range = || format!("is out of range: {} expected", name(kind));
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => value.try_into().map(Value::I32).ok(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => value.try_into().map(Value::I64).ok(),
        Kind::Uint32 | Kind::Fixed32 => value.try_into().map(Value::U32).ok(),
        Kind::Uint64 | Kind::Fixed64 => value.try_into().map(Value::U64).ok(),
        _ => None,
    }
    .ok_or_else(out_of_range)
}

fn bytes(text: &str) -> Result<Value, String> {
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let decoded = engine.decode(text).map_err(|_| expected(&Kind::Bytes))?;
    Ok(Value::Bytes(decoded.into()))
}

fn enum_named(descriptor: &EnumDescriptor, text: &str) -> Result<Value, String> {
    let value = descriptor.get_value_by_name(text).ok_or_else(|| one_of(descriptor))?;
    Ok(Value::EnumNumber(value.number()))
}

fn enum_numbered(descriptor: &EnumDescriptor, number: i32) -> Result<Value, String> {
    let value = descriptor.get_value(number).ok_or_else(|| one_of(descriptor))?;
    Ok(Value::EnumNumber(value.number()))
}

fn one_of(descriptor: &EnumDescriptor) -> String {
    let names: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
    format!("must be one of {}", names.join(", "))
}

fn expected(kind: &Kind) -> String {
    format!("must be {}", name(kind))
}

fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Double | Kind::Float => "a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a 32-bit integer",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a 64-bit integer",
        Kind::Uint32 | Kind::Fixed32 => "an unsigned 32-bit integer",
        Kind::Uint64 | Kind::Fixed64 => "an unsigned 64-bit integer",
        Kind::Bool => "true or false",
        Kind::String => "a string",
        Kind::Bytes => "a base64 string",
        Kind::Message(_) => "an object",
        Kind::Enum(_) => "the name of an enum value",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_numbers_follow_proto3() {
        let rows = [
            (Kind::Int32, json!(5), Some(Value::I32(5))),
            (Kind::Int32, json!("5"), Some(Value::I32(5))),
            (Kind::Int32, json!(5.0), Some(Value::I32(5))),
            (Kind::Int32, json!(5.5), None),
            (Kind::Int32, json!(2_147_483_648_u64), None),
            (Kind::Int32, json!(true), None),
            (Kind::Int64, json!("9223372036854775807"), Some(Value::I64(i64::MAX))),
            (Kind::Int64, json!("9223372036854775808"), None),
            (Kind::Uint64, json!("18446744073709551615"), Some(Value::U64(u64::MAX))),
            (Kind::Uint32, json!(-1), None),
            (Kind::Double, json!("NaN"), None),
            (Kind::Double, json!("-Infinity"), Some(Value::F64(f64::NEG_INFINITY))),
            (Kind::Double, json!(" 1"), None),
            (Kind::Float, json!(1e300), None),
            (Kind::Float, json!(0.5), Some(Value::F32(0.5))),
            (Kind::String, json!(5), None),
            (Kind::Bool, json!("true"), None),
            (Kind::Bytes, json!("_-8="), Some(Value::Bytes(vec![0xff, 0xef].into()))),
            (Kind::Bytes, json!("!"), None),
        ];
        for (kind, json, expected) in rows {
            let read = from_json(&kind, &json);
            if json == json!("NaN") {
                assert!(matches!(read, Ok(Value::F64(value)) if value.is_nan()));
            } else {
                assert_eq!(read.ok(), expected, "{kind:?} {json}");
            }
        }
    }

    #[test]
    fn text_is_read_by_kind() {
        assert_eq!(from_text(&Kind::Bool, "true"), Ok(Value::Bool(true)));
        assert!(from_text(&Kind::Bool, "1").is_err());
        assert_eq!(from_text(&Kind::Int32, "-7"), Ok(Value::I32(-7)));
        assert!(from_text(&Kind::Int32, "").is_err());
        assert!(from_text(&Kind::Int32, "1 2").is_err());
        assert_eq!(from_text(&Kind::String, ""), Ok(Value::String(String::new())));
    }
}
