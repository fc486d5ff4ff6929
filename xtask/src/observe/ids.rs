//! Ids of traces and spans, as OTLP sends them and as people read them: bytes and hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Id of a trace.
pub(crate) type TraceId = Id<16>;

/// Id of a span, unique within its trace.
pub(crate) type SpanId = Id<8>;

/// An id of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id<const N: usize>([u8; N]);

impl<const N: usize> Id<N> {
    /// Of OTLP's bytes; `None` if they are too few, too many or all zero, which stands for no id.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = <[u8; N]>::try_from(bytes).ok()?;
        bytes.iter().any(|byte| *byte != 0).then_some(Self(bytes))
    }
}

impl<const N: usize> fmt::Display for Id<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl<const N: usize> FromStr for Id<N> {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        bytes(text).and_then(|bytes| Self::from_bytes(&bytes)).ok_or(NoId)
    }
}

impl<const N: usize> Serialize for Id<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoId;

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
