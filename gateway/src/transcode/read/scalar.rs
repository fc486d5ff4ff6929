//! Scalars of JSON, paths and queries to the wire: numbers, text, bytes, enums.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::number::{Whole, plain_digits, whole};
use super::out::Wire;
use super::token::{Scalar, is_number};
use crate::transcode::plan::{Enum, JsonPlan, Kind};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// Base64 with or without its padding, as the most lenient of readers has it.
pub(crate) const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Why a value does not fit its field. It never repeats the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// This is to be mended.
    Said(Cow<'static, str>),
    /// An enum has no such name, but these.
    NoSuchName(String),
}

impl Wrong {
    pub(crate) fn into_text(self) -> Cow<'static, str> {
        match self {
            Self::Said(text) => text,
            Self::NoSuchName(choices) => format!("must be one of {choices}").into(),
        }
    }
}

pub(crate) type Result<T = ()> = std::result::Result<T, Wrong>;

/// Writes a value from JSON. What was written when it fails is to be taken back.
#[inline]
pub(super) fn from_json(out: &mut Wire, plan: &JsonPlan, kind: Kind, value: Scalar<'_>) -> Result {
    match (kind, value) {
        (Kind::String, Scalar::Text(text)) => {
            out.block(text.as_bytes());
            Ok(())
        }
        (Kind::Bool, Scalar::Flag(value)) => {
            out.varint(value.into());
            Ok(())
        }
        (Kind::Bytes, Scalar::Text(text)) => bytes(out, text),
        (Kind::Enum(place), value) => enumerated(out, plan.enums.get(place), value),
        (Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_), _) => Err(expected(kind)),
        (_, Scalar::Number(text) | Scalar::Text(text)) if common_integer(out, kind, text) => Ok(()),
        (_, Scalar::Number(number)) => from_number(out, kind, number),
        (_, Scalar::Text(text)) => from_number_text(out, kind, text),
        _ => Err(expected(kind)),
    }
}

/// Writes a value from the text of a path, of a query, or of the key of a map.
pub(super) fn from_text(out: &mut Wire, plan: &JsonPlan, kind: Kind, text: &str) -> Result {
    match kind {
        Kind::Bool => match text {
            "true" => from_json(out, plan, kind, Scalar::Flag(true)),
            "false" => from_json(out, plan, kind, Scalar::Flag(false)),
            _ => Err(expected(kind)),
        },
        Kind::Enum(_) if text.parse::<i32>().is_ok() => {
            from_json(out, plan, kind, Scalar::Number(text.trim_start_matches('+')))
        }
        Kind::Enum(place)
            if text == "null" && plan.enums.get(place).is_some_and(|known| known.is_null) =>
        {
            from_json(out, plan, kind, Scalar::Null)
        }
        _ => from_json(out, plan, kind, Scalar::Text(text)),
    }
}

fn from_number_text(out: &mut Wire, kind: Kind, text: &str) -> Result {
    match (kind, text) {
        (Kind::Double | Kind::Float, "NaN") => float(out, kind, f64::NAN),
        (Kind::Double | Kind::Float, "Infinity") => float(out, kind, f64::INFINITY),
        (Kind::Double | Kind::Float, "-Infinity") => float(out, kind, f64::NEG_INFINITY),
        (kind, text) if is_number(text) => from_number(out, kind, text),
        (kind, _) => Err(expected(kind)),
    }
}

fn float(out: &mut Wire, kind: Kind, value: f64) -> Result {
    match kind {
        Kind::Float => out.fixed32((value as f32).to_bits()),
        _ => out.fixed64(value.to_bits()),
    }
    Ok(())
}

fn from_number(out: &mut Wire, kind: Kind, text: &str) -> Result {
    match kind {
        Kind::Double => out.fixed64(double(text)?.to_bits()),
        Kind::Float => {
            let value: f32 = text.parse().map_err(|_| expected(kind))?;
            if !value.is_finite() {
                return Err(OUT_OF_RANGE);
            }
            out.fixed32(value.to_bits());
        }
        _ => return integer(out, kind, text),
    }
    Ok(())
}

/// A number as a double that is one.
pub(super) fn double(text: &str) -> Result<f64> {
    let value: f64 = text.parse().map_err(|_| expected(Kind::Double))?;
    if value.is_finite() { Ok(value) } else { Err(OUT_OF_RANGE) }
}

const OUT_OF_RANGE: Wrong = Wrong::Said(Cow::Borrowed("is out of range"));

/// Writes an integer as most are: not negative, in digits alone, and of a kind that is written as it is. Says
/// whether it was one.
#[inline]
fn common_integer(out: &mut Wire, kind: Kind, text: &str) -> bool {
    let most = match kind {
        Kind::Int32 => i32::MAX as u64,
        Kind::Uint32 => u32::MAX.into(),
        Kind::Int64 | Kind::Uint64 => i64::MAX as u64,
        _ => return false,
    };
    let value = plain_digits(text.as_bytes()).filter(|value| *value <= most);
    value.map(|value| out.varint(value)).is_some()
}

fn integer(out: &mut Wire, kind: Kind, text: &str) -> Result {
    let value = signed(kind, text)?;
    let beyond = || Wrong::Said(format!("is out of range: {} expected", name(kind)).into());
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            let value = i32::try_from(value).map_err(|_| beyond())?;
            match kind {
                Kind::Int32 => out.varint(i64::from(value) as u64),
                Kind::Sint32 => out.varint(((value << 1) ^ (value >> 31)) as u32 as u64),
                _ => out.fixed32(value as u32),
            }
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            let value = i64::try_from(value).map_err(|_| beyond())?;
            match kind {
                Kind::Int64 => out.varint(value as u64),
                Kind::Sint64 => out.varint(((value << 1) ^ (value >> 63)) as u64),
                _ => out.fixed64(value as u64),
            }
        }
        Kind::Uint32 | Kind::Fixed32 => {
            let value = u32::try_from(value).map_err(|_| beyond())?;
            match kind {
                Kind::Uint32 => out.varint(value.into()),
                _ => out.fixed32(value),
            }
        }
        _ => {
            let value = u64::try_from(value).map_err(|_| beyond())?;
            match kind {
                Kind::Uint64 => out.varint(value),
                _ => out.fixed64(value),
            }
        }
    }
    Ok(())
}

fn signed(kind: Kind, text: &str) -> Result<i128> {
    match whole(text) {
        Whole::Exact { negative: true, magnitude } => Ok(-i128::from(magnitude)),
        Whole::Exact { negative: false, magnitude } => Ok(magnitude.into()),
        Whole::Beyond => {
            Err(Wrong::Said(format!("is out of range: {} expected", name(kind)).into()))
        }
        Whole::Fraction => Err(expected(kind)),
    }
}

fn bytes(out: &mut Wire, text: &str) -> Result {
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let begin = out.begin();
    let most = base64::decoded_len_estimate(text.len());
    out.bytes.resize(begin + most, 0);
    let room = out.bytes.get_mut(begin..).unwrap_or_default();
    let written = engine.decode_slice(text, room).map_err(|_| expected(Kind::Bytes))?;
    out.back_to(begin + written);
    out.end(begin);
    Ok(())
}

fn enumerated(out: &mut Wire, known: Option<&Enum>, value: Scalar<'_>) -> Result {
    let wrong = || expected(Kind::Enum(0));
    let known = known.ok_or_else(wrong)?;
    let no_such = || Wrong::NoSuchName(known.choices.clone());
    let number = match value {
        Scalar::Text(text) => known.number(text).ok_or_else(no_such)?,
        Scalar::Number(text) => {
            let number = signed(Kind::Int32, text).map_err(|_| wrong())?;
            let number = i32::try_from(number).map_err(|_| wrong())?;
            if !known.takes(number) {
                return Err(Wrong::Said(no_such().into_text()));
            }
            number
        }
        Scalar::Null if known.is_null => 0,
        _ => return Err(wrong()),
    };
    out.varint(i64::from(number) as u64);
    Ok(())
}

pub(super) fn expected(kind: Kind) -> Wrong {
    Wrong::Said(match kind {
        Kind::Double | Kind::Float => Cow::Borrowed("must be a number"),
        Kind::Bool => Cow::Borrowed("must be true or false"),
        Kind::String => Cow::Borrowed("must be a string"),
        kind => Cow::Owned(format!("must be {}", name(kind))),
    })
}

fn name(kind: Kind) -> &'static str {
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
mod tests {
    use mainstay::contract;

    use super::*;
    use crate::transcode::plan::Spelling;

    fn plan() -> JsonPlan {
        JsonPlan::compile(
            contract::pool().get_message_by_name("google.protobuf.Empty"),
            Spelling::Contract,
        )
    }

    fn read(write: impl FnOnce(&mut Wire) -> Result) -> Option<Vec<u8>> {
        let mut wire = Wire::default();
        write(&mut wire).ok().map(|()| wire.bytes)
    }

    fn varint(value: u64) -> Option<Vec<u8>> {
        read(|wire| {
            wire.varint(value);
            Ok(())
        })
    }

    #[test]
    fn json_scalars_follow_proto3() {
        use Scalar::{Flag, Number, Text};
        let plan = plan();
        let rows = [
            (Kind::Int32, Number("5"), varint(5)),
            (Kind::Int32, Text("5"), varint(5)),
            (Kind::Int32, Number("5.0"), varint(5)),
            (Kind::Int32, Number("-1"), varint(u64::MAX)),
            (Kind::Int32, Number("5.5"), None),
            (Kind::Int32, Number("2147483648"), None),
            (Kind::Int32, Flag(true), None),
            (Kind::Int32, Scalar::Null, None),
            (Kind::Sint32, Number("-2147483648"), varint(u64::from(u32::MAX))),
            (Kind::Sint64, Text("-9223372036854775808"), varint(u64::MAX)),
            (Kind::Int64, Text("9223372036854775807"), varint(i64::MAX as u64)),
            (Kind::Int64, Text("9223372036854775808"), None),
            (Kind::Uint64, Text("18446744073709551615"), varint(u64::MAX)),
            (Kind::Uint32, Number("-1"), None),
            (Kind::Sfixed32, Number("-1"), Some(vec![0xff; 4])),
            (Kind::Fixed64, Number("18446744073709551615"), Some(vec![0xff; 8])),
            (Kind::Double, Text("NaN"), Some(f64::NAN.to_le_bytes().into())),
            (Kind::Double, Text("-Infinity"), Some(f64::NEG_INFINITY.to_le_bytes().into())),
            (Kind::Double, Number("1e400"), None),
            (Kind::Double, Text(" 1"), None),
            (Kind::Double, Text("inf"), None),
            (Kind::Float, Number("1e300"), None),
            (Kind::Float, Number("0.5"), Some(0.5_f32.to_le_bytes().into())),
            (Kind::String, Number("5"), None),
            (Kind::Bool, Text("true"), None),
            (Kind::Bytes, Text("_-8="), Some(vec![2, 0xff, 0xef])),
            (Kind::Bytes, Text("_-8"), Some(vec![2, 0xff, 0xef])),
            (Kind::Bytes, Text("!"), None),
        ];
        for (kind, value, wanted) in rows {
            let found = read(|wire| from_json(wire, &plan, kind, value));
            assert_eq!(found, wanted, "{kind:?} {value:?}");
        }
    }

    #[test]
    fn text_is_read_by_kind() {
        let plan = plan();
        let of = |kind, text: &str| read(|wire| from_text(wire, &plan, kind, text));
        assert_eq!(of(Kind::Bool, "true"), varint(1));
        assert_eq!(of(Kind::Bool, "1"), None);
        assert_eq!(of(Kind::Int32, "-7"), varint(-7_i64 as u64));
        assert_eq!(of(Kind::Int32, ""), None);
        assert_eq!(of(Kind::Int32, "1 2"), None);
        assert_eq!(of(Kind::String, ""), varint(0));
    }
}
