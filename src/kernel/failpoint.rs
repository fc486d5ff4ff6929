//! Failpoints: the moments in which the end of a process could lose an event or double an effect.
//!
//! The kernel passes them by. A test that wants to see what becomes of a process that is killed at
//! one of them says so by `mainstay_testing::die_at`. They act where the crate `fail` is built with
//! its feature `failpoints`, which the crate `mainstay-testing` asks for: in builds of the whole
//! workspace, and even there only in a process that configures one. In a build of single packages,
//! such as an image's, nothing is compiled into their place.

/// A moment between two steps that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failpoint {
    /// State and event are written, their transaction is not committed: neither may stay.
    BeforeCommit,
    /// State and event are committed, the writer does not know yet and no relay was woken: the event
    /// must go out.
    AfterCommit,
    /// The broker has acknowledged records, the relay has not marked them in the outbox: they are
    /// published again, in their order and with their ids.
    AfterAck,
    /// A consumer's effect is committed with its inbox row, the offset is not acknowledged: the event
    /// is delivered again and has no second effect.
    AfterEffect,
    /// The compensation of a saga's step has had its effect, or has written it and not committed; the
    /// saga does not know: it is undone once more by the same key, and moves on.
    MidCompensation,
}

impl Failpoint {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::AfterAck,
        Self::AfterEffect,
        Self::MidCompensation,
    ];

    /// Its name, by which tests configure it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeCommit => "outbox::before_commit",
            Self::AfterCommit => "outbox::after_commit",
            Self::AfterAck => "relay::after_ack",
            Self::AfterEffect => "consumer::after_effect",
            Self::MidCompensation => "saga::mid_compensation",
        }
    }

    /// Passes it.
    #[inline]
    pub(crate) fn pass(self) {
        fail::fail_point!(self.name());
    }
}
