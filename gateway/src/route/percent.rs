//! Percent-decoding (RFC 3986, section 2.1) of paths and queries, strict about text.

/// The decoded bytes are not UTF-8, or an escape is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not UTF-8 text in percent-encoding")]
pub(crate) struct NotText;

/// Decodes every escape.
pub(crate) fn decode(raw: &str) -> Result<String, NotText> {
    decode_with(raw, |_| true, false)
}

/// Decodes every escape but `%2F`, which would read as a boundary between segments.
pub(crate) fn decode_path(raw: &str) -> Result<String, NotText> {
    decode_with(raw, |byte| byte != b'/', false)
}

/// Decodes a name or value of a query, where `+` is a space.
pub(crate) fn decode_query(raw: &str) -> Result<String, NotText> {
    decode_with(raw, |_| true, true)
}

fn decode_with(raw: &str, wanted: fn(u8) -> bool, plus: bool) -> Result<String, NotText> {
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            b'%' => {
                let escape = bytes.get(index + 1..index + 3).ok_or(NotText)?;
                let byte = hex(escape[0]).zip(hex(escape[1])).ok_or(NotText)?;
                let byte = byte.0 * 16 + byte.1;
                if wanted(byte) {
                    decoded.push(byte);
                } else {
                    decoded.extend_from_slice(&bytes[index..index + 3]);
                }
                index += 3;
                continue;
            }
            b'+' if plus => decoded.push(b' '),
            byte => decoded.push(byte),
        }
        index += 1;
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
        for raw in ["%", "%4", "%zz", "%ff", "%C3"] {
            assert_eq!(decode(raw), Err(NotText), "{raw}");
        }
    }
}
