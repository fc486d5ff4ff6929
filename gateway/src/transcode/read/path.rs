//! Where in a request reading stands, put into words only when something is wrong there.

use mainstay::kernel::error::{Error, INVALID_ARGUMENT};

use super::token::{Fault, Tokens};
use super::too_deep;
use crate::error::MALFORMED_JSON;

/// The way to a value, each step on the stack of whoever reads it.
pub(super) enum Path<'a> {
    Root,
    /// A field by the contract's name.
    Field(&'a Path<'a>, &'a str),
    /// A member that the contract does not have; its name stands there in the text.
    Member(&'a Path<'a>, usize),
    Index(&'a Path<'a>, usize),
    /// An entry of a map; its key stands there in the text.
    Key(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// As a caller is told it: `inner.words[1]`, `counts["x"]`.
    #[cold]
    pub(super) fn show(&self, tokens: &mut Tokens<'_>) -> String {
        let mut shown = String::new();
        self.write(&mut shown, tokens);
        if shown.is_empty() { "body".to_owned() } else { shown }
    }

    fn write(&self, shown: &mut String, tokens: &mut Tokens<'_>) {
        match self {
            Self::Root => {}
            Self::Field(before, name) => {
                before.write(shown, tokens);
                member(shown, name);
            }
            Self::Member(before, at) => {
                before.write(shown, tokens);
                member(shown, &tokens.name_at(*at));
            }
            Self::Index(before, index) => {
                before.write(shown, tokens);
                shown.push_str(&format!("[{index}]"));
            }
            Self::Key(before, at) => {
                before.write(shown, tokens);
                shown.push_str(&format!("[{:?}]", tokens.name_at(*at)));
            }
        }
    }
}

fn member(shown: &mut String, name: &str) {
    if !shown.is_empty() {
        shown.push('.');
    }
    shown.push_str(name);
}

/// Why reading ended: a fault that nobody has said the place of yet, or what the caller is told.
pub(super) enum Stop {
    Fault(Fault),
    Said(Box<Error>),
}

/// One step of reading.
pub(super) type Step<T = ()> = Result<T, Stop>;

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Stop {
    /// With the place of the fault, if it has none yet: the innermost one is said first.
    #[cold]
    pub(super) fn placed(self, tokens: &mut Tokens<'_>, path: &Path<'_>) -> Self {
        Self::Said(Box::new(self.into_error(tokens, path)))
    }

    #[cold]
    pub(super) fn into_error(self, tokens: &mut Tokens<'_>, path: &Path<'_>) -> Error {
        let fault = match self {
            Self::Said(error) => return *error,
            Self::Fault(fault) => fault,
        };
        let is_root = matches!(path, Path::Root);
        match fault {
            Fault::Deep => {
                let reason = too_deep();
                let field = path.show(tokens);
                Error::new(INVALID_ARGUMENT, format!("{field}: {reason}")).field(field, reason)
            }
            Fault::Malformed { at, what } => {
                let (line, column) = tokens.place(at);
                let reason = format!("malformed JSON: {what} at line {line} column {column}");
                if is_root {
                    return Error::new(MALFORMED_JSON, reason);
                }
                let field = path.show(tokens);
                Error::new(MALFORMED_JSON, format!("{reason}, at `{field}`")).field(field, reason)
            }
        }
    }
}
