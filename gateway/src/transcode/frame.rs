//! The frames of a WebSocket to request messages. Path and query are said once, before the first frame,
//! and fill their fields of every message; a frame gives the others.

use bytes::Bytes;
use mainstay::kernel::error::Result;

use super::binding::Binding;
use super::query::{self, Given, Parameters};
use super::read::Taken;
use super::read::out::Wire;
use super::violations::Violations;
use crate::route::template::Capture;

/// What path and query say in each message.
#[derive(Debug)]
pub(crate) struct Fixed {
    wire: Bytes,
    /// The fields that no frame may give again.
    taken: Taken,
}

impl Fixed {
    /// Reads path and query.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` where they do not fit the message.
    pub(crate) fn read(
        binding: &Binding,
        captures: &[Capture],
        parameters: &Parameters,
    ) -> Result<Self> {
        let (mut wire, mut violations) = (Wire::overriding(), Violations::default());
        // The field that frames fill counts as given, for they have it yet to give.
        let mut given = Given::by(&binding.places, true);
        query::apply(binding, parameters, &mut given, &mut wire, &mut violations);
        binding.write_path(captures, &mut wire, &mut violations);
        violations.into_result()?;
        let mut taken = binding.places.taken.clone();
        let beside_the_body = |path: &&Vec<u16>| path.first().copied() != binding.places.body;
        for path in given.paths().iter().filter(beside_the_body) {
            taken.add(path);
        }
        Ok(Self { wire: wire.into_bytes(), taken })
    }

    /// The message of a text frame: JSON of what a body would fill, or, where the rule has no body, of what
    /// path and query leave of the message.
    ///
    /// # Errors
    ///
    /// Those of a body.
    pub(crate) fn message(
        &self,
        binding: &Binding,
        parameters: &Parameters,
        json: &[u8],
    ) -> Result<Bytes> {
        let mut violations = Violations::default();
        let mut wire = Wire::with_capacity(json.len() + self.wire.len());
        if binding.places.body.is_some() {
            binding.write_field(json, parameters, &mut wire, &mut violations)?;
        } else {
            let reader = binding.plan.reader(json, &mut wire, &mut violations)?;
            reader.whole(binding.plan.root, Some(&self.taken))?;
        }
        violations.into_result()?;
        Ok(self.appended(wire.into_bytes()))
    }

    /// The message of a binary frame, which is one itself. What path and query say stands behind it and
    /// overrides what it says of the same fields.
    pub(crate) fn appended(&self, frame: Bytes) -> Bytes {
        match self.wire.is_empty() {
            true => frame,
            false => [&*frame, &*self.wire].concat().into(),
        }
    }
}
