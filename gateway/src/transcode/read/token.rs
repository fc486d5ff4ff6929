//! JSON (RFC 8259) token by token, in place: texts and numbers are handed out as they stand in the
//! request; only a text with escapes is copied.
//!
//! Ours, and not a library's, for three reasons: numbers are needed digit by digit (64-bit
//! integers, `1e3` as an integer), an `Any` is read twice when its `@type` is not its first member,
//! and after a fault of one field reading goes on with the next.

/// Why reading ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The text is no JSON from this byte on.
    Malformed { at: usize, what: &'static str },
    /// Objects and arrays nest deeper than is read.
    Deep,
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

/// A value that holds no others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Flag(bool),
    /// A number as it is written, which is by JSON's grammar.
    Number(&'a str),
    Text(&'a str),
}

/// So long a text may be with what stands behind it to be copied in one go.
pub(super) const SHORT: usize = 32;

/// A JSON text that is being read.
pub(super) struct Tokens<'t> {
    text: &'t str,
    at: usize,
    /// The last text that had escapes, without them.
    unescaped: String,
}

impl<'t> Tokens<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, unescaped: String::new() }
    }

    /// Where the next byte stands.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes back to where reading was before.
    pub(super) fn rewind(&mut self, position: usize) {
        self.at = position;
    }

    /// The bytes that come next, white space and all.
    #[inline]
    fn ahead<const N: usize>(&self) -> Option<&[u8; N]> {
        self.text.as_bytes().get(self.at..)?.first_chunk()
    }

    /// The first byte of what comes next, which is not taken yet.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(self.malformed("it ends too soon")),
            }
        }
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<()> {
        match self.peek() {
            Ok(_) => Err(self.malformed("more follows its end")),
            Err(_) => Ok(()),
        }
    }

    /// Takes the `{` or `[` that was seen.
    pub(super) fn open(&mut self) {
        self.at += 1;
    }

    /// Whether another member or item comes before `close`, which is taken if none does.
    #[inline]
    pub(super) fn another(&mut self, close: u8, first: &mut bool) -> Result<bool> {
        // What programs write mostly has no white space.
        if let Some(b",\"") = self.ahead()
            && !*first
        {
            self.at += 1;
            return Ok(true);
        }
        let byte = self.peek()?;
        if byte == close {
            self.at += 1;
            return Ok(false);
        }
        if std::mem::take(first) {
            return Ok(true);
        }
        if byte != b',' {
            return Err(self.malformed("a comma or the end of its object or array is missing"));
        }
        self.at += 1;
        if self.peek()? == close {
            return Err(self.malformed("nothing follows a comma"));
        }
        Ok(true)
    }

    /// The name of a member, with its colon.
    #[inline]
    pub(super) fn name(&mut self) -> Result<&str> {
        if self.peek()? != b'"' {
            return Err(self.malformed("the name of a member is to be in quotes"));
        }
        let (begin, end) = self.text_range()?;
        // What is unescaped stays while the colon is taken.
        if self.peek()? != b':' {
            return Err(self.malformed("a colon is missing"));
        }
        self.at += 1;
        Ok(self.shown(begin, end))
    }

    /// The name that stands at a position, for an error.
    pub(super) fn name_at(&mut self, position: usize) -> String {
        let here = std::mem::replace(&mut self.at, position);
        let name = self.name().map(str::to_owned).unwrap_or_default();
        self.at = here;
        name
    }

    /// The text that comes next; its first quote was seen.
    #[inline]
    pub(super) fn string(&mut self) -> Result<&str> {
        let (begin, end) = self.text_range()?;
        Ok(self.shown(begin, end))
    }

    /// The next value, which is no object and no array.
    #[inline]
    pub(super) fn scalar(&mut self) -> Result<Scalar<'_>> {
        match self.peek()? {
            b'"' => self.string().map(Scalar::Text),
            b'-' | b'0'..=b'9' => {
                let begin = self.at;
                self.at = number_end(self.text.as_bytes(), begin)
                    .map_err(|at| Fault::Malformed { at, what: "a number is cut short" })?;
                Ok(Scalar::Number(self.text.get(begin..self.at).unwrap_or_default()))
            }
            b't' => self.word("true", Scalar::Flag(true)),
            b'f' => self.word("false", Scalar::Flag(false)),
            b'n' => self.word("null", Scalar::Null),
            _ => Err(self.malformed("a value is expected")),
        }
    }

    /// The text that comes next, if it has no escapes and is so short that it can be copied in one go with
    /// what stands behind it. Nothing is taken otherwise.
    #[inline]
    pub(super) fn short(&mut self) -> Option<(&[u8; SHORT], usize)> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let ahead = bytes.get(self.at + 1..)?.first_chunk::<SHORT>()?;
        let length = plain(ahead);
        if ahead.get(length) != Some(&b'"') {
            return None;
        }
        self.at += length + 2;
        Some((ahead, length))
    }

    /// Passes over a value, which may nest as deep as `levels`.
    pub(super) fn skip(&mut self, levels: usize) -> Result<()> {
        let (close, named) = match self.peek()? {
            b'{' => (b'}', true),
            b'[' => (b']', false),
            _ => return self.scalar().map(drop),
        };
        let inner = levels.checked_sub(1).ok_or(Fault::Deep)?;
        self.open();
        let mut first = true;
        while self.another(close, &mut first)? {
            if named {
                self.name()?;
            }
            self.skip(inner)?;
        }
        Ok(())
    }

    /// Line and column of a byte, both from 1 on.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        let mut lines = before.split(|byte| *byte == b'\n');
        let column = lines.next_back().map_or(0, <[u8]>::len) + 1;
        (lines.count() + 1, column)
    }

    fn malformed(&self, what: &'static str) -> Fault {
        Fault::Malformed { at: self.at, what }
    }

    fn word(&mut self, word: &str, value: Scalar<'static>) -> Result<Scalar<'_>> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.malformed("a value is expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// Where the text that comes next stands, without its quotes; empty and at the end of all where
    /// it had escapes and stands in `unescaped`.
    #[inline]
    fn text_range(&mut self) -> Result<(usize, usize)> {
        let begin = self.at + 1;
        let end = begin + plain(self.text.as_bytes().get(begin..).unwrap_or_default());
        match self.text.as_bytes().get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok((begin, end))
            }
            _ => self.unescape(begin, end).map(|()| (usize::MAX, usize::MAX)),
        }
    }

    #[inline]
    fn shown(&self, begin: usize, end: usize) -> &str {
        match begin {
            usize::MAX => &self.unescaped,
            _ => self.text.get(begin..end).unwrap_or_default(),
        }
    }

    fn unescape(&mut self, mut begin: usize, mut end: usize) -> Result<()> {
        self.unescaped.clear();
        loop {
            self.unescaped.push_str(self.text.get(begin..end).unwrap_or_default());
            self.at = end;
            match self.text.as_bytes().get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.malformed("a control character stands in a text")),
                None => return Err(self.malformed("it ends within a text")),
            }
            begin = self.at;
            end = begin + plain(self.text.as_bytes().get(begin..).unwrap_or_default());
        }
    }

    fn escape(&mut self) -> Result<()> {
        let escaped = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.malformed("there is no such escape")),
        };
        self.at += 2;
        self.unescaped.push(escaped);
        Ok(())
    }

    /// `\u` and four digits, or two of them for a character beyond the first plane. Half a pair is
    /// no character (RFC 8259, section 8.2).
    fn unicode(&mut self) -> Result<()> {
        let lone = self.malformed("half a surrogate pair is no character");
        let high = self.four_digits()?;
        let code = match high {
            0xd800..=0xdbff => match self.four_digits() {
                Ok(low @ 0xdc00..=0xdfff) => 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                _ => return Err(lone),
            },
            code => code,
        };
        self.unescaped.push(char::from_u32(code).ok_or(lone)?);
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32> {
        let escape = self.text.as_bytes().get(self.at..self.at + 6).unwrap_or_default();
        let digits = escape.strip_prefix(b"\\u").unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16);
            code = code << 4 | digit.ok_or_else(|| self.malformed("there is no such escape"))?;
        }
        if digits.is_empty() {
            return Err(self.malformed("there is no such escape"));
        }
        self.at += 6;
        Ok(code)
    }
}

/// How many bytes come before the first that is a quote, a backslash or a control character. Eight
/// are looked at at once.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        // A byte is zero when taking one from it borrows; the lowest one found is a true one.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let quotes = zero(word ^ (ONES * b'"' as u64));
        let escapes = zero(word ^ (ONES * b'\\' as u64));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = quotes | escapes | controls;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    at + rest.iter().position(special).unwrap_or(rest.len())
}

/// Whether a text is a number by JSON's grammar: no `+`, no spaces, no leading zeros.
pub(super) fn is_number(text: &str) -> bool {
    number_end(text.as_bytes(), 0) == Ok(text.len())
}

/// Where the number that begins at `at` ends; where it is none, the byte at fault.
fn number_end(bytes: &[u8], mut at: usize) -> std::result::Result<usize, usize> {
    let digits = |mut at: usize| {
        let begin = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at > begin { Ok(at) } else { Err(at) }
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        _ => digits(at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Ok(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_serde_json_reads_them() {
        let rows = [
            r#""""#,
            r#""a""#,
            r#""seven b""#,
            r#""eight by""#,
            r#""é𝄞 and more than eight""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u00e9\uD834\udd1e.""#,
            r#""12345678\u0041""#,
            r#""\ud834""#,
            r#""\udd1e""#,
            r#""\ud834\u0041""#,
            r#""\ud834x""#,
            r#""\u12""#,
            r#""\uXXXX""#,
            r#""\x""#,
            "\"a\nb\"",
            "\"\u{7f}\"",
            r#""open"#,
            r#""open\"#,
            r#"""#,
        ];
        for text in rows {
            let read = Tokens::new(text).scalar().map(|value| format!("{value:?}")).ok();
            let wanted = serde_json::from_str::<String>(text).ok();
            assert_eq!(read, wanted.map(|text| format!("Text({text:?})")), "{text}");
        }
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for text in ["0", "-0", "10", "1.5", "-1.50e+10", "1E5", "1e-5", "123456789012345678901"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", "-", "01", "-01", "+1", ".5", "1.", "1e", "1e+", "0x1", " 1", "1 ", "NaN"]
        {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn whole_values_are_passed_over() {
        let rows = [
            (r#"{"a": [1, {"b": null}], "c": "}"}"#, true),
            ("[]", true),
            ("{}", true),
            ("[1,]", false),
            ("[,1]", false),
            ("[1 2]", false),
            (r#"{"a": 1,}"#, false),
            (r#"{"a" 1}"#, false),
            (r#"{a: 1}"#, false),
            ("[1}", false),
            ("tru", false),
            ("// x", false),
            ("", false),
        ];
        for (text, sound) in rows {
            let mut tokens = Tokens::new(text);
            assert_eq!(tokens.skip(3).and_then(|()| tokens.end()).is_ok(), sound, "{text}");
        }
        assert_eq!(Tokens::new("[[[[]]]]").skip(3), Err(Fault::Deep));
    }

    #[test]
    fn a_fault_is_placed() {
        let text = "{\n  \"a\": tru";
        let mut tokens = Tokens::new(text);
        let Err(Fault::Malformed { at, .. }) = tokens.skip(3) else { panic!("it is sound") };
        assert_eq!(tokens.place(at), (2, 8));
    }
}
