//! Objects whose members are entries: maps, and what `google.protobuf.Struct` and its like hold.

use super::path::{Path, Step};
use super::scalar;
use super::token::Scalar;
use super::{Reader, Within};
use crate::transcode::plan::{Field, Kind, Message};

/// Tags of `google.protobuf.Value`.
const NULL: [u8; 2] = [0x08, 0];
const NUMBER: u32 = 0x11;
const TEXT: u32 = 0x1a;
const FLAG: u32 = 0x20;
const STRUCT: u32 = 0x2a;
const LIST: u32 = 0x32;
/// Tag of the entries of a `Struct` and of the values of a `ListValue`.
const FIRST: u32 = 0x0a;

/// How entries are written.
struct Entries {
    /// Tag of each of them.
    tag: u32,
    key_tag: u32,
    key: Kind,
    value_tag: u32,
    /// What the values are; absent where each may be anything.
    value: Option<Kind>,
    /// How many levels of the wire one of JSON is.
    levels: usize,
}

/// A `Struct` within a `Struct` stands in a value, and that in an entry.
const OF_STRUCT: Entries = Entries {
    tag: FIRST,
    key_tag: 0x0a,
    key: Kind::String,
    value_tag: 0x12,
    value: None,
    levels: 3,
};

/// A `ListValue` within a `ListValue` stands in a value.
const LEVELS_OF_LIST: usize = 2;

/// An entry that was written, kept to see that no other has its key.
struct Written {
    /// Where it begins on the wire: with its key.
    begin: usize,
    /// The length of the key with its tag.
    key: usize,
    /// Where its key stands in the text.
    at: usize,
}

impl Reader<'_, '_> {
    pub(super) fn map(&mut self, field: &Field, entry: usize, path: &Path<'_>) -> Step<bool> {
        let plan = self.plan;
        let fields = plan.message(entry).map(|entry| entry.fields.as_slice());
        let Some([key, value]) = fields else { return self.refuse(path, "has no JSON") };
        let entries = Entries {
            tag: field.tag,
            key_tag: key.tag,
            key: key.kind,
            value_tag: value.tag,
            value: Some(value.kind),
            levels: 1,
        };
        self.entries(&entries, "an object", path)
    }

    pub(super) fn structure(&mut self, message: &Message, path: &Path<'_>) -> Step<bool> {
        self.entries(&OF_STRUCT, message.expected, path)
    }

    fn entries(&mut self, entries: &Entries, expected: &str, path: &Path<'_>) -> Step<bool> {
        if self.tokens.peek()? != b'{' {
            return self.refuse(path, format!("must be {expected}"));
        }
        self.enter_levels(entries.levels)?;
        let (mut first, mut written) = (true, Vec::new());
        while self.tokens.another(b'}', &mut first)? {
            self.tokens.peek()?;
            let at = self.tokens.position();
            let read = self.entry(entries, at, &Path::Key(path, at));
            written
                .extend(read.map_err(|stop| stop.placed(&mut self.tokens, &Path::Key(path, at)))?);
        }
        self.refuse_twins(written, path);
        self.leave_levels(entries.levels);
        Ok(true)
    }

    /// Reads one entry; `None` where it is none that counts.
    fn entry(&mut self, entries: &Entries, at: usize, path: &Path<'_>) -> Step<Option<Written>> {
        let mark = self.out.mark();
        self.out.tag(entries.tag);
        let begin = self.out.begin();
        self.out.tag(entries.key_tag);
        let name = self.tokens.name()?;
        let key = match scalar::from_text(self.out, self.plan, entries.key, name) {
            Ok(()) => Some(self.out.mark() - begin),
            Err(wrong) => {
                self.violations.add(path.show(&mut self.tokens), wrong.into_text());
                None
            }
        };
        self.out.tag(entries.value_tag);
        let read = match entries.value {
            Some(kind) => self.value(kind, path, Within::Nothing)?,
            None => {
                let begin = self.out.begin();
                let read = self.dynamic(path)?;
                self.out.end(begin);
                read
            }
        };
        let begin = self.out.end(begin);
        match key.filter(|_| read) {
            Some(key) => Ok(Some(Written { begin, key, at })),
            None => {
                self.out.back_to(mark);
                Ok(None)
            }
        }
    }

    /// No key may come twice, also not in two spellings such as `1` and `1.0`.
    fn refuse_twins(&mut self, mut written: Vec<Written>, path: &Path<'_>) {
        if written.len() < 2 {
            return;
        }
        let bytes = &self.out.bytes;
        let key = |one: &Written| bytes.get(one.begin..one.begin + one.key).unwrap_or_default();
        written.sort_unstable_by(|one, other| key(one).cmp(key(other)).then(one.at.cmp(&other.at)));
        for pair in written.windows(2) {
            let [one, other] = pair else { continue };
            if key(one) == key(other) {
                let twin = Path::Key(path, other.at).show(&mut self.tokens);
                self.violations.add(twin, "appears twice");
            }
        }
    }

    /// A `google.protobuf.Value`, without tag and length.
    pub(super) fn dynamic(&mut self, path: &Path<'_>) -> Step<bool> {
        match self.tokens.peek()? {
            b'{' => {
                self.out.tag(STRUCT);
                let begin = self.out.begin();
                let read = self.entries(&OF_STRUCT, "an object", path);
                self.out.end(begin);
                return read;
            }
            b'[' => {
                self.out.tag(LIST);
                let begin = self.out.begin();
                let read = self.dynamic_items(path);
                self.out.end(begin);
                return read;
            }
            _ => {}
        }
        match self.tokens.scalar()? {
            Scalar::Null => self.out.bytes.extend_from_slice(&NULL),
            Scalar::Flag(value) => {
                self.out.tag(FLAG);
                self.out.varint(value.into());
            }
            Scalar::Text(text) => {
                self.out.tag(TEXT);
                self.out.block(text.as_bytes());
            }
            Scalar::Number(text) => match scalar::double(text) {
                Ok(value) => {
                    self.out.tag(NUMBER);
                    self.out.fixed64(value.to_bits());
                }
                Err(wrong) => return Ok(self.wrong(path, wrong)),
            },
        }
        Ok(true)
    }

    pub(super) fn dynamic_list(&mut self, message: &Message, path: &Path<'_>) -> Step<bool> {
        if self.tokens.peek()? != b'[' {
            return self.refuse(path, format!("must be {}", message.expected));
        }
        self.dynamic_items(path)
    }

    fn dynamic_items(&mut self, path: &Path<'_>) -> Step<bool> {
        self.enter_levels(LEVELS_OF_LIST)?;
        let (mut first, mut index) = (true, 0);
        while self.tokens.another(b']', &mut first)? {
            let path = Path::Index(path, index);
            self.out.tag(FIRST);
            let begin = self.out.begin();
            self.dynamic(&path).map_err(|stop| stop.placed(&mut self.tokens, &path))?;
            self.out.end(begin);
            index += 1;
        }
        self.leave_levels(LEVELS_OF_LIST);
        Ok(true)
    }
}
