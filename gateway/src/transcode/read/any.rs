//! `google.protobuf.Any`: a message of the type that `@type` names, wherever that stands among its
//! members.

use std::cell::Cell;

use super::path::{Path, Step};
use super::{Reader, Within};
use crate::transcode::plan::{Form, Message};

/// The member that names the type.
pub(super) const TYPE: &str = "@type";
/// The member that has the value where its form is no object of its fields.
const VALUE: &str = "value";

const TYPE_URL: u32 = 0x0a;
const CONTENT: u32 = 0x12;

impl<'p> Reader<'p, '_> {
    pub(super) fn any(&mut self, message: &'p Message, path: &Path<'_>) -> Step<bool> {
        let refused = || format!("must be {}", message.expected);
        if self.tokens.peek()? != b'{' {
            return self.refuse(path, refused());
        }
        let begin = self.tokens.position();
        let url = self.type_url();
        let url = url.map_err(|stop| stop.placed(&mut self.tokens, path))?;
        let is_empty = url.is_none() && self.tokens.position() == begin;
        self.tokens.rewind(begin);
        let plan = self.plan;
        let name = url.as_deref().and_then(|url| url.rsplit_once('/')).map(|(_, name)| name);
        let place = name.and_then(|name| plan.find(name));
        let known = place.and_then(|place| Some((place, plan.message(place)?)));
        let (Some(url), Some((place, known))) = (url, known) else {
            // Without members it is an `Any` that holds nothing.
            return if is_empty {
                self.skip().map(|()| true)
            } else {
                self.refuse(path, refused())
            };
        };
        self.out.tag(TYPE_URL);
        self.out.block(url.as_bytes());
        self.out.tag(CONTENT);
        let begin = self.out.begin();
        let read = match known.form {
            Form::Object => self.object(known, path, Within::Typed(&Cell::new(false))),
            Form::Refused(ref reason) => self.refuse(path, reason.as_str()),
            _ => self.typed_value(place, known, path),
        };
        self.out.end(begin);
        read
    }

    /// Looks for the type among the members. Stands where it began if there are no members at all.
    fn type_url(&mut self) -> Step<Option<String>> {
        let begin = self.tokens.position();
        self.enter()?;
        let mut first = true;
        while self.tokens.another(b'}', &mut first)? {
            if self.tokens.name()? == TYPE {
                self.leave();
                return Ok(match self.tokens.peek()? {
                    b'"' => Some(self.tokens.string()?.to_owned()),
                    _ => None,
                });
            }
            self.skip()?;
        }
        self.leave();
        if first {
            self.tokens.rewind(begin);
        }
        Ok(None)
    }

    /// The member that was read before all others, and may come once.
    pub(super) fn type_again(&mut self, path: &Path<'_>, at: usize, seen: &Cell<bool>) -> Step {
        if seen.replace(true) {
            return self.refuse(&Path::Member(path, at), "appears twice").map(drop);
        }
        self.skip()
    }

    /// The members of an `Any` whose value has a form of its own.
    fn typed_value(&mut self, place: usize, known: &Message, path: &Path<'_>) -> Step<bool> {
        self.enter()?;
        let (mut first, types, mut values) = (true, Cell::new(false), 0);
        while self.tokens.another(b'}', &mut first)? {
            self.tokens.peek()?;
            let at = self.tokens.position();
            let member = Path::Member(path, at);
            match self.tokens.name()? {
                TYPE => self.type_again(path, at, &types)?,
                VALUE if values == 0 => {
                    values += 1;
                    let read = self.message(place, &member, Within::Nothing);
                    read.map_err(|stop| stop.placed(&mut self.tokens, &member))?;
                }
                VALUE => drop(self.refuse(&member, "appears twice")?),
                _ => self.unknown(path, at)?,
            }
        }
        self.leave();
        if values == 0 && !matches!(known.form, Form::Empty) {
            self.violations.add(path.show(&mut self.tokens), "has no `value`");
        }
        Ok(true)
    }
}
