//! Everything that is wrong with a request, gathered so that a caller can mend it in one go.

use mainstay::kernel::error::{Error, INVALID_ARGUMENT, Result};

/// How many violations one reply names at most.
const MOST_NAMED: usize = 20;

/// What is wrong with which fields.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<(String, String)>);

impl Violations {
    /// Adds that something is wrong with a field.
    pub(crate) fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        if self.0.len() < MOST_NAMED {
            self.0.push((field.into(), description.into()));
        }
    }

    /// `INVALID_ARGUMENT` if anything was wrong.
    pub(crate) fn into_result(self) -> Result<()> {
        let Some((field, description)) = self.0.first() else { return Ok(()) };
        let mut message = format!("{field}: {description}");
        if self.0.len() > 1 {
            message.push_str(&format!(" (and {} more)", self.0.len() - 1));
        }
        let error = Error::new(INVALID_ARGUMENT, message);
        Err(self
            .0
            .into_iter()
            .fold(error, |error, (field, description)| error.field(field, description)))
    }
}
