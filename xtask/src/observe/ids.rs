//! Ids of traces and spans, as OTLP sends them and as people read them: bytes and hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Id of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TraceId([u8; 16]);

/// Id of a span, unique within its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SpanId([u8; 8]);

impl TraceId {
    /// Of OTLP's bytes; `None` if they are too few, too many or all zero, which stands for no id.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        valid(bytes).map(Self)
    }
}

impl SpanId {
    /// As [`TraceId::from_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        valid(bytes).map(Self)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(&self.0, formatter)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(&self.0, formatter)
    }
}

impl FromStr for TraceId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        bytes(text).and_then(|bytes| Self::from_bytes(&bytes)).ok_or(NoId)
    }
}

impl FromStr for SpanId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        bytes(text).and_then(|bytes| Self::from_bytes(&bytes)).ok_or(NoId)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoId;

fn valid<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    <[u8; N]>::try_from(bytes).ok().filter(|bytes| bytes.iter().any(|byte| *byte != 0))
}

fn hexadecimal(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let text = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
        assert_eq!("00f067aa0ba902b7".parse::<SpanId>().unwrap().to_string(), "00f067aa0ba902b7");
        for no_id in
            ["", "4b", "zz", &"0".repeat(32), &format!("{text}00"), "é".repeat(16).as_str()]
        {
            assert_eq!(no_id.parse::<TraceId>(), Err(NoId), "{no_id}");
        }
    }
}
