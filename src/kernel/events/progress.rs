//! Acknowledgements in any order, and the position that follows from them.

use std::collections::BTreeMap;

/// What was handed out of one stream and is not yet behind the position: offset, acknowledged.
#[derive(Debug, Default)]
pub(super) struct Progress(BTreeMap<i64, bool>);

impl Progress {
    pub(super) fn hand_out(&mut self, offset: i64) {
        self.0.insert(offset, false);
    }

    /// The position that the group may move to, if it moves: the last record before the first one
    /// that is not acknowledged.
    pub(super) fn acknowledge(&mut self, offset: i64) -> Option<i64> {
        *self.0.get_mut(&offset)? = true;
        let mut position = None;
        while let Some(first) = self.0.first_entry().filter(|first| *first.get()) {
            position = Some(first.remove_entry().0);
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_never_passes_an_unacknowledged_record() {
        let mut progress = Progress::default();
        for offset in [3, 5, 9] {
            progress.hand_out(offset);
        }
        assert_eq!(progress.acknowledge(5), None);
        assert_eq!(progress.acknowledge(3), Some(5));
        assert_eq!(progress.acknowledge(3), None, "twice");
        assert_eq!(progress.acknowledge(9), Some(9));
    }
}
