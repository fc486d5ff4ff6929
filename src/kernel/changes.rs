//! What changes outside of the process, such as files, and is looked at for that.

use std::time::Duration;

/// How often it is looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// What was found when it was last looked at. A change is taken when two looks in a row found the same, so
/// that one that is half written is not.
#[derive(Debug)]
pub(crate) struct Changes<C> {
    seen: Option<C>,
    /// Whether what was seen is taken.
    is_done: bool,
}

impl<C: PartialEq> Changes<C> {
    /// The first that is found counts as a change.
    pub(crate) fn of_unknown() -> Self {
        Self { seen: None, is_done: false }
    }

    /// Only what is otherwise than this counts.
    pub(crate) fn since(seen: C) -> Self {
        Self { seen: Some(seen), is_done: true }
    }

    /// A look: what was found, once, when it is a change that is to be taken.
    pub(crate) fn look(&mut self, found: C) -> Option<&C> {
        if self.seen.as_ref() != Some(&found) {
            (self.seen, self.is_done) = (Some(found), false);
            return None;
        }
        if self.is_done {
            return None;
        }
        self.is_done = true;
        self.seen.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_once_when_two_looks_found_it() {
        let mut changes = Changes::since(1);
        let looks = [(1, None), (2, None), (3, None), (3, Some(3)), (3, None), (1, None)];
        for (found, taken) in looks {
            assert_eq!(changes.look(found).copied(), taken, "{found}");
        }
        let mut unknown = Changes::of_unknown();
        assert_eq!(unknown.look(1), None);
        assert_eq!(unknown.look(1), Some(&1));
    }
}
