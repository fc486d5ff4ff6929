//! What was found wrong, and where.

use std::fmt;

use crate::kernel::error::{Error, INVALID_ARGUMENT, Result};

/// The most violations that are reported: what a person can use, and no means to make us write
/// long replies.
const MAX_VIOLATIONS: usize = 50;

/// Where in the request we are.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) path: &'a Path<'a>,
    pub(super) depth: usize,
}

impl At<'_> {
    pub(super) fn field<'b>(self, path: &'b Path<'b>) -> At<'b> {
        At { path, depth: self.depth }
    }

    pub(super) fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// The way to a field, written out only when something is wrong with it.
pub(super) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
    Key(&'a Path<'a>, String),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => formatter.write_str(name),
            Self::Field(parent, name) => write!(formatter, "{parent}.{name}"),
            Self::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(formatter, "{parent}[{key}]"),
        }
    }
}

/// What was found wrong.
#[derive(Default)]
pub(super) struct Report {
    violations: Vec<(String, String)>,
    muted: bool,
    of_readable: bool,
}

impl Report {
    /// For values that must be readable but have no rules.
    pub(super) fn muted() -> Self {
        Self { muted: true, ..Self::default() }
    }

    /// Of bytes that are known to be readable.
    pub(super) fn of_readable() -> Self {
        Self { of_readable: true, ..Self::default() }
    }

    /// Whether only rules can find something wrong.
    pub(super) fn is_of_readable(&self) -> bool {
        self.of_readable
    }

    pub(super) fn refuse(&mut self, path: &Path<'_>, description: String) {
        if !self.muted && self.violations.len() < MAX_VIOLATIONS {
            self.violations.push((path.to_string(), description));
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        let message = match &self.violations[..] {
            [] => return Ok(()),
            [(field, description)] => format!("{field}: {description}"),
            [(field, description), others @ ..] => {
                format!("{field}: {description} (and {} more)", others.len())
            }
        };
        let error = Error::new(INVALID_ARGUMENT, message);
        Err(self
            .violations
            .into_iter()
            .fold(error, |error, (field, description)| error.field(field, description)))
    }
}
