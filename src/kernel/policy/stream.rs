//! What a contract states about streams, enforced message by message.

use std::sync::Arc;

use anyhow::Context as _;
use prost_reflect::MethodDescriptor;

use super::{FieldPath, MethodPolicy};
use crate::kernel::error::{Error, INVALID_ARGUMENT, Result};
use crate::kernel::proto::policy as stated;

/// How a stream of replies is taken up again after it broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The number of the request's string field that takes the id of the last message seen.
    pub resume_field: u32,
    /// The reply's field with the id of a message.
    pub id: FieldPath,
}

impl Resumption {
    pub(super) fn resolve(
        method: &MethodDescriptor,
        stated: &stated::StreamPolicy,
    ) -> anyhow::Result<Self> {
        let input = method.input();
        FieldPath::resolve(&input, &stated.resume_field)?;
        let field = input.get_field_by_name(&stated.resume_field);
        let field = field.with_context(|| format!("{} has no such field", input.full_name()))?;
        let id = FieldPath::resolve(&method.output(), &stated.id_field)?;
        Ok(Self { resume_field: field.number(), id })
    }
}

/// Judges the messages of a client's stream one by one.
///
/// Access is decided once, by the first message. So every later one must be about the same resource and
/// owner: nobody gets a door opened with one name to walk through it with another.
#[derive(Debug)]
pub struct StreamRules {
    policy: Arc<MethodPolicy>,
    about: Option<(String, Option<String>)>,
}

impl StreamRules {
    /// The rules of a method, before its first message.
    pub fn new(policy: Arc<MethodPolicy>) -> Self {
        Self { policy, about: None }
    }

    /// Checks the next message. `INVALID_ARGUMENT` where it breaks the contract's rules, or is about
    /// something else than the first one.
    pub fn check(&mut self, message: &[u8]) -> Result<()> {
        self.policy.validate(message)?;
        if self.policy.resource.is_none() && self.policy.owner.is_none() {
            return Ok(());
        }
        let owner = self.policy.owner.as_ref().map(|owner| owner.read(message)).transpose()?;
        let about = (self.policy.resource_of(message), owner.flatten());
        match &self.about {
            Some(first) if *first != about => Err(Error::new(
                INVALID_ARGUMENT,
                "every message of a stream is about the same thing as its first",
            )),
            Some(_) => Ok(()),
            None => {
                self.about = Some(about);
                Ok(())
            }
        }
    }
}

impl MethodPolicy {
    /// Whether access cannot be decided before the request's first message is known.
    pub fn asks_the_message(&self) -> bool {
        self.access.permission().is_some() && (self.resource.is_some() || self.owner.is_some())
    }

    /// Whether either side sends a stream of messages.
    pub fn is_streaming(&self) -> bool {
        self.client_streaming || self.server_streaming
    }
}
