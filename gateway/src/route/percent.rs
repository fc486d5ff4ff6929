//! Percent-decoding (RFC 3986, section 2.1) of paths and queries, strict about text.

use std::borrow::Cow;

/// The decoded bytes are not UTF-8, or an escape is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not UTF-8 text in percent-encoding")]
pub(crate) struct NotText;

/// Decodes every escape.
pub(crate) fn decode(raw: &str) -> Result<String, NotText> {
    decode_with(raw, |_| true, false)
}

/// Decodes every escape of a segment, which most have none of.
pub(crate) fn decode_segment(raw: &str) -> Result<Cow<'_, str>, NotText> {
    if raw.contains('%') { decode(raw).map(Cow::Owned) } else { Ok(Cow::Borrowed(raw)) }
}

/// Encodes what cannot stand in a segment of a path as it is (RFC 3986, section 3.3), and what a template
/// would read as its own: `*`, `=` and `:`.
pub(crate) fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(char::from(byte)),
            _ if b"-._~!$&'()+,;@".contains(&byte) => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Decodes every escape but `%2F`, which would read as a boundary between segments.
pub(crate) fn decode_path(raw: &str) -> Result<String, NotText> {
    decode_with(raw, |byte| byte != b'/', false)
}

/// Decodes every escape but those of `/` and `:`, which would read as boundaries of segments and verbs.
pub(crate) fn decode_but_delimiters(raw: &str) -> Result<String, NotText> {
    decode_with(raw, |byte| byte != b'/' && byte != b':', false)
}

/// Decodes a name or value of a query, where `+` is a space.
pub(crate) fn decode_query(raw: &str) -> Result<String, NotText> {
    decode_with(raw, |_| true, true)
}

fn decode_with(raw: &str, wanted: fn(u8) -> bool, plus: bool) -> Result<String, NotText> {
    let escapes = |byte: &u8| *byte == b'%' || plus && *byte == b'+';
    if !raw.as_bytes().iter().any(escapes) {
        return Ok(raw.to_owned());
    }
    let mut rest = raw.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match *first {
            b'%' => {
                let ([high, low], after) = after.split_first_chunk().ok_or(NotText)?;
                let (upper, lower) = hex(*high).zip(hex(*low)).ok_or(NotText)?;
                let byte = upper * 16 + lower;
                if wanted(byte) {
                    decoded.push(byte);
                } else {
                    decoded.extend_from_slice(&[b'%', *high, *low]);
                }
                rest = after;
            }
            b'+' if plus => decoded.push(b' '),
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| NotText)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_text_or_are_refused() {
        assert_eq!(decode("a%20b+c%C3%A9"), Ok("a b+cé".into()));
        assert_eq!(decode_query("a+b%2Bc"), Ok("a b+c".into()));
        assert_eq!(decode_path("a%2fb%41"), Ok("a%2fbA".into()));
        assert_eq!(decode_but_delimiters("a%2fb%3A%41"), Ok("a%2fb%3AA".into()));
        assert_eq!(encode_segment("é b/c:d*"), "%C3%A9%20b%2Fc%3Ad%2A");
        for raw in ["%", "%4", "%zz", "%ff", "%C3"] {
            assert_eq!(decode(raw), Err(NotText), "{raw}");
        }
    }
}
