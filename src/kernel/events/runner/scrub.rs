//! Reasons without personal data: handlers quote what they were given, and reasons go into logs,
//! tables and other people's terminals.

use prost_reflect::DescriptorPool;
use regex::{Regex, RegexBuilder};

use crate::kernel::policy::Redactor;
use crate::kernel::proto::events::Envelope;

/// What stands in the place of a protected value.
const REDACTED: &str = "[redacted]";

/// Shorter values would be found in every other word.
const SHORTEST: usize = 3;

/// Takes what an event's contract protects out of texts about it.
pub(super) struct Scrubber {
    pool: DescriptorPool,
    redactor: Redactor,
}

impl Scrubber {
    pub(super) fn new(pool: &DescriptorPool) -> anyhow::Result<Self> {
        Ok(Self { pool: pool.clone(), redactor: Redactor::compile(pool)? })
    }

    /// The text with every protected value of the event redacted, upper and lower case alike.
    pub(super) fn scrub(&self, event: &Envelope, text: String) -> String {
        match self.protected(event) {
            Some(protected) => protected.replace_all(&text, REDACTED).into_owned(),
            None => text,
        }
    }

    fn protected(&self, event: &Envelope) -> Option<Regex> {
        let descriptor = self.pool.get_message_by_name(&event.r#type)?;
        let mut values = self.redactor.protected_texts(&descriptor, &event.data);
        values.retain(|value| value.chars().count() >= SHORTEST);
        // The longest first: a value may be part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let values: Vec<_> = values.iter().map(|value| regex::escape(value)).collect();
        if values.is_empty() {
            return None;
        }
        RegexBuilder::new(&values.join("|")).case_insensitive(true).build().ok()
    }
}
