//! JSON to the wire in one pass: what a text says is written while it is read, with no message and
//! no tree between. Both spellings of a name are taken; unknown fields are refused or passed over,
//! as the plan says. A fault of a field is noted by its path and reading goes on behind it, so that
//! a caller hears of all of them; only what is no JSON, or nests too deep, ends it.

mod any;
mod dynamic;
mod known;
mod number;
pub(crate) mod out;
mod path;
pub(crate) mod scalar;
mod time;
mod token;

use std::cell::Cell;

use mainstay::kernel::error::{Error, Result};

use super::plan::{Field, Form, JsonPlan, Kind, Message, Named, Shape};
use super::violations::Violations;
use crate::error::MALFORMED_JSON;
pub(crate) use known::write_mask;
pub(in crate::transcode) use known::write_text;
use out::Wire;
use path::{Path, Stop};
use scalar::Wrong;
use token::Tokens;

/// The most objects and arrays in one another that are read: what protobuf's own readers take, of
/// JSON and on the wire. What has more levels on the wire than in JSON counts as many as it has there,
/// or a caller could make messages that no server reads.
pub(in crate::transcode) const DEEPEST: usize = 100;

/// Why a member or parameter is refused that is an extension.
pub(in crate::transcode) const EXTENSION: &str =
    "is an extension of proto2, which neither JSON nor a query can have";

/// Why what the path says is refused elsewhere.
pub(in crate::transcode) const BY_PATH: &str = "is given by the URL and cannot be given again";

/// Why what nests deeper than [`DEEPEST`] is refused.
pub(in crate::transcode) fn too_deep() -> String {
    format!("is nested deeper than {DEEPEST} levels")
}

/// What becomes of a field that the contract does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused by its name: nothing is guessed.
    #[default]
    Refuse,
    /// It is passed over, as are names of enum values that there are not.
    Ignore,
}

/// Fields that are given elsewhere, so that a body may not give them again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    fields: Vec<(u16, Taken)>,
}

impl Taken {
    /// Adds the field at a path of places.
    pub(crate) fn add(&mut self, path: &[u16]) {
        let Some((first, rest)) = path.split_first() else { return };
        let known = self.fields.iter().position(|(place, _)| place == first);
        let at = known.unwrap_or(self.fields.len());
        if known.is_none() {
            self.fields.push((*first, Self::default()));
        }
        if let Some((_, inner)) = self.fields.get_mut(at) {
            inner.add(rest);
        }
    }

    /// What is taken within a field; of one that is taken itself, nothing is.
    pub(crate) fn within(&self, place: u16) -> Option<&Self> {
        self.fields.iter().find(|(taken, _)| *taken == place).map(|(_, inner)| inner)
    }

    fn is_leaf(&self) -> bool {
        self.fields.is_empty()
    }
}

/// What is special about an object.
#[derive(Clone, Copy)]
enum Within<'w> {
    Nothing,
    /// Some of its fields are given elsewhere.
    Taken(&'w Taken),
    /// It stands in an `Any` and has its `@type` among its members.
    Typed(&'w Cell<bool>),
}

/// Reads one JSON text. What is wrong with its fields is gathered.
pub(crate) struct Reader<'p, 't> {
    plan: &'p JsonPlan,
    unknown: Unknown,
    tokens: Tokens<'t>,
    out: &'t mut Wire,
    violations: &'t mut Violations,
    /// Three bits for each field of the messages that are being read: come by the contract's name,
    /// come by JSON's, and set.
    marks: Vec<u64>,
    depth: usize,
    /// The fields that the outermost object has, where somebody asks.
    keys: Option<Vec<u16>>,
}

const BY_NAME: usize = 0;
const BY_CAMEL: usize = 1;
const SET: usize = 2;

impl<'p, 't> Reader<'p, 't> {
    /// Reads a text that is UTF-8, or says where it is not.
    pub(crate) fn new(
        plan: &'p JsonPlan,
        unknown: Unknown,
        json: &'t [u8],
        out: &'t mut Wire,
        violations: &'t mut Violations,
    ) -> Result<Self> {
        let text = std::str::from_utf8(json).map_err(|fault| {
            let at = fault.valid_up_to();
            Error::new(MALFORMED_JSON, format!("the body is not UTF-8 at byte {at}"))
        })?;
        let tokens = Tokens::new(text);
        Ok(Self { plan, unknown, tokens, out, violations, marks: Vec::new(), depth: 0, keys: None })
    }

    /// Reads a whole message, of which some fields may be given elsewhere.
    pub(crate) fn whole(mut self, message: usize, taken: Option<&Taken>) -> Result<()> {
        let within = taken.map_or(Within::Nothing, Within::Taken);
        let read = self.message(message, &Path::Root, within).map(drop);
        self.finish(read)
    }

    /// Reads the value of one field, and says which fields that value has itself.
    pub(in crate::transcode) fn one_field(
        mut self,
        field: &'p Field,
        taken: Option<&Taken>,
    ) -> Result<(bool, Vec<u16>)> {
        self.keys = Some(Vec::new());
        let within = taken.map_or(Within::Nothing, Within::Taken);
        let read = self.field(field, &Path::Root, within);
        let keys = self.keys.take().unwrap_or_default();
        let set = *read.as_ref().unwrap_or(&false);
        self.finish(read.map(drop))?;
        Ok((set, keys))
    }

    /// Reads what a call that takes no body was sent nevertheless.
    pub(crate) fn nothing(mut self) -> Result<()> {
        let read = self.no_fields();
        self.finish(read)
    }

    fn finish(mut self, read: path::Step) -> Result<()> {
        let read = read.and_then(|()| Ok(self.tokens.end()?));
        read.map_err(|stop| stop.into_error(&mut self.tokens, &Path::Root))
    }

    fn no_fields(&mut self) -> path::Step {
        if self.tokens.peek()? != b'{' {
            return self.refuse(&Path::Root, "this call takes no body").map(drop);
        }
        self.tokens.open();
        let mut first = true;
        while self.tokens.another(b'}', &mut first)? {
            self.tokens.peek()?;
            let path = Path::Member(&Path::Root, self.tokens.position());
            self.tokens.name()?;
            self.refuse(&path, "is no field: this call takes no body")?;
        }
        Ok(())
    }

    /// Reads a message in its form, without tag and length. Says whether it is one.
    #[inline]
    fn message(&mut self, place: usize, path: &Path<'_>, within: Within<'_>) -> path::Step<bool> {
        let plan = self.plan;
        let Some(message) = plan.message(place) else { return self.refuse(path, "has no JSON") };
        match &message.form {
            Form::Object | Form::Empty => self.object(message, path, within),
            Form::Wrapper => self.wrapper(message, path, within),
            Form::Timestamp | Form::Duration | Form::FieldMask => self.text_form(message, path),
            Form::Struct => self.structure(message, path),
            Form::Value => self.dynamic(path),
            Form::ListValue => self.dynamic_list(message, path),
            Form::Any => self.any(message, path),
            Form::Refused(reason) => self.refuse(path, reason.as_str()),
        }
    }

    fn object(
        &mut self,
        message: &'p Message,
        path: &Path<'_>,
        within: Within<'_>,
    ) -> path::Step<bool> {
        if self.tokens.peek()? != b'{' {
            return self.refuse(path, format!("must be {}", message.expected));
        }
        self.enter()?;
        let base = self.marks.len();
        self.marks.resize(base + 3 * words(message), 0);
        if let Within::Taken(taken) = within {
            for (place, inner) in &taken.fields {
                if inner.is_leaf() {
                    self.mark(base, message, SET, *place);
                }
            }
        }
        let mut first = true;
        while self.tokens.another(b'}', &mut first)? {
            self.member(message, base, path, within)?;
        }
        self.marks.truncate(base);
        self.leave();
        Ok(true)
    }

    #[inline]
    fn member(
        &mut self,
        message: &'p Message,
        base: usize,
        path: &Path<'_>,
        within: Within<'_>,
    ) -> path::Step {
        self.tokens.peek()?;
        let at = self.tokens.position();
        let name = self.tokens.name()?;
        let Some(named) = message.find(name) else {
            return match within {
                Within::Typed(seen) if name == any::TYPE => self.type_again(path, at, seen),
                _ => self.unknown(path, at),
            };
        };
        let Some(field) = message.fields.get(usize::from(named.place)) else {
            return self.unknown(path, at);
        };
        let read = self.known(message, base, field, named, &Path::Field(path, &field.name), within);
        read.map_err(|stop| stop.placed(&mut self.tokens, &Path::Field(path, &field.name)))
    }

    /// A member that the contract has.
    #[inline]
    fn known(
        &mut self,
        message: &'p Message,
        base: usize,
        field: &'p Field,
        named: Named,
        path: &Path<'_>,
        within: Within<'_>,
    ) -> path::Step {
        if let Path::Field(Path::Root, _) = path
            && let Some(keys) = &mut self.keys
        {
            keys.push(named.place);
        }
        let within = match within {
            Within::Taken(taken) => {
                taken.within(named.place).map_or(Within::Nothing, Within::Taken)
            }
            _ => Within::Nothing,
        };
        if matches!(within, Within::Taken(taken) if taken.is_leaf()) {
            return self.refuse(path, BY_PATH).map(drop);
        }
        let spelling = if named.camel { BY_CAMEL } else { BY_NAME };
        let again = self.mark(base, message, spelling, named.place);
        if again || self.is_marked(base, message, BY_NAME + BY_CAMEL - spelling, named.place) {
            let reason = if again { "appears twice" } else { "appears twice, in two spellings" };
            return self.refuse(path, reason).map(drop);
        }
        if !self.field(field, path, within)? {
            return Ok(());
        }
        if field.rivals.is_empty() {
            return Ok(());
        }
        for rival in &field.rivals {
            if self.is_marked(base, message, SET, *rival) {
                let rival = message.fields.get(usize::from(*rival)).map_or("", |rival| &rival.name);
                self.violations
                    .add(path.show(&mut self.tokens), format!("cannot be given beside `{rival}`"));
                return Ok(());
            }
        }
        self.mark(base, message, SET, named.place);
        Ok(())
    }

    /// Reads a field with its tag. Says whether it is set then; null is as good as absent.
    #[inline]
    fn field(&mut self, field: &'p Field, path: &Path<'_>, within: Within<'_>) -> path::Step<bool> {
        if self.tokens.peek()? == b'n' && !field.takes_null {
            self.tokens.scalar()?;
            return Ok(false);
        }
        match (field.shape, field.kind) {
            (Shape::Single, kind) => {
                let mark = self.out.mark();
                self.out.tag(field.tag);
                let value = self.out.mark();
                let set = self.value(kind, path, within)?;
                // Without presence a default is as good as not set.
                if !set || (!field.presence && self.out.is_default(value)) {
                    self.out.back_to(mark);
                }
                Ok(set)
            }
            (Shape::List, _) => self.list(field, path),
            (Shape::Map, Kind::Message(entry)) => self.map(field, entry, path),
            (Shape::Map, _) => self.refuse(path, "has no JSON"),
        }
    }

    /// Reads one value, which has its length before it where it is a message.
    #[inline]
    fn value(&mut self, kind: Kind, path: &Path<'_>, within: Within<'_>) -> path::Step<bool> {
        if let Kind::Message(place) = kind {
            let begin = self.out.begin();
            let read = self.message(place, path, within)?;
            self.out.end(begin);
            return Ok(read);
        }
        if let b'{' | b'[' = self.tokens.peek()? {
            return self.refuse(path, scalar::expected(kind).into_text());
        }
        if kind == Kind::String
            && let Some((bytes, length)) = self.tokens.short()
        {
            self.out.short_block(bytes, length);
            return Ok(true);
        }
        let value = self.tokens.scalar()?;
        match scalar::from_json(self.out, self.plan, kind, value) {
            Ok(()) => Ok(true),
            Err(wrong) => Ok(self.wrong(path, wrong)),
        }
    }

    /// Notes a value that does not fit. One that is no value of its enum may be passed over.
    #[cold]
    fn wrong(&mut self, path: &Path<'_>, wrong: Wrong) -> bool {
        if !matches!((&wrong, self.unknown), (Wrong::NoSuchName(_), Unknown::Ignore)) {
            self.violations.add(path.show(&mut self.tokens), wrong.into_text());
        }
        false
    }

    fn wrapper(
        &mut self,
        message: &Message,
        path: &Path<'_>,
        within: Within<'_>,
    ) -> path::Step<bool> {
        let Some(field) = message.fields.first() else { return self.refuse(path, "has no JSON") };
        if matches!(within, Within::Taken(taken) if !taken.is_leaf()) {
            return self.refuse(path, BY_PATH);
        }
        let refused = || format!("must be {}", message.expected);
        if let b'{' | b'[' = self.tokens.peek()? {
            return self.refuse(path, refused());
        }
        let mark = self.out.mark();
        self.out.tag(field.tag);
        let value = self.out.mark();
        let written = scalar::from_json(self.out, self.plan, field.kind, self.tokens.scalar()?);
        if written.is_err() || self.out.is_default(value) {
            self.out.back_to(mark);
        }
        if written.is_err() {
            self.violations.add(path.show(&mut self.tokens), refused());
        }
        Ok(written.is_ok())
    }

    fn list(&mut self, field: &'p Field, path: &Path<'_>) -> path::Step<bool> {
        if self.tokens.peek()? != b'[' {
            return self.refuse(path, "must be an array");
        }
        self.enter()?;
        let mark = self.out.mark();
        let packed = field.packed.then(|| {
            self.out.tag(field.tag);
            self.out.begin()
        });
        let (mut first, mut index) = (true, 0);
        while self.tokens.another(b']', &mut first)? {
            let begin = self.out.mark();
            if packed.is_none() {
                self.out.tag(field.tag);
            }
            let path = Path::Index(path, index);
            let read = self.value(field.kind, &path, Within::Nothing);
            if !read.map_err(|stop| stop.placed(&mut self.tokens, &path))? {
                self.out.back_to(begin);
            }
            index += 1;
        }
        match packed {
            Some(begin) if self.out.mark() == begin => self.out.back_to(mark),
            Some(begin) => drop(self.out.end(begin)),
            None => {}
        }
        self.leave();
        Ok(true)
    }

    /// A member that the contract does not have; its name stands at a position of the text.
    fn unknown(&mut self, path: &Path<'_>, at: usize) -> path::Step {
        let path = Path::Member(path, at);
        if self.tokens.name_at(at).starts_with('[') {
            return self.refuse(&path, EXTENSION).map(drop);
        }
        match self.unknown {
            Unknown::Refuse => self.refuse(&path, "is no field of this request").map(drop),
            Unknown::Ignore => {
                let skipped = self.skip();
                skipped.map_err(|stop| stop.placed(&mut self.tokens, &path))
            }
        }
    }

    /// Notes what is wrong with the value that comes next, and passes over it.
    #[cold]
    fn refuse(&mut self, path: &Path<'_>, reason: impl Into<String>) -> path::Step<bool> {
        self.violations.add(path.show(&mut self.tokens), reason);
        let skipped = self.skip();
        skipped.map_err(|stop| stop.placed(&mut self.tokens, path))?;
        Ok(false)
    }

    fn skip(&mut self) -> path::Step {
        Ok(self.tokens.skip(DEEPEST - self.depth)?)
    }

    /// Takes the `{` or `[` that was seen.
    #[inline]
    fn enter(&mut self) -> path::Step {
        self.enter_levels(1)
    }

    /// Takes the `{` or `[` of what has so many levels on the wire.
    #[inline]
    fn enter_levels(&mut self, levels: usize) -> path::Step {
        if self.depth + levels > DEEPEST {
            return Err(Stop::from(token::Fault::Deep));
        }
        self.depth += levels;
        self.tokens.open();
        Ok(())
    }

    #[inline]
    fn leave(&mut self) {
        self.leave_levels(1);
    }

    #[inline]
    fn leave_levels(&mut self, levels: usize) {
        self.depth -= levels;
    }

    /// Sets a mark, and says whether it was set before.
    #[inline]
    fn mark(&mut self, base: usize, message: &Message, which: usize, place: u16) -> bool {
        let place = usize::from(place);
        let bit = 1 << (place % 64);
        let at = base + which * words(message) + place / 64;
        self.marks.get_mut(at).is_some_and(|word| {
            let before = *word & bit != 0;
            *word |= bit;
            before
        })
    }

    #[inline]
    fn is_marked(&self, base: usize, message: &Message, which: usize, place: u16) -> bool {
        let place = usize::from(place);
        let word = self.marks.get(base + which * words(message) + place / 64);
        word.is_some_and(|word| word & (1 << (place % 64)) != 0)
    }
}

/// How many words have a bit for each field of a message.
#[inline]
fn words(message: &Message) -> usize {
    message.fields.len().div_ceil(64)
}
