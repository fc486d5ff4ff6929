//! Where a blocking query goes on, by the rules of Consul's documentation of blocking queries.

/// The index of the next question, and what the last answer's index gave away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// 0 asks for the present state without waiting.
    pub(super) index: u64,
    pub(super) finding: Finding,
}

/// What an index gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Time goes on.
    Sound,
    /// The agent has a shorter history than before: its servers were restored or replaced.
    WentBack,
    /// There is none to wait on.
    Absent,
}

/// What follows from an answer's index, after a question with `asked`.
pub(super) fn next(asked: u64, answered: Option<u64>) -> Next {
    match answered {
        None => Next { index: 0, finding: Finding::Absent },
        Some(index) if index < asked => Next { index: 0, finding: Finding::WentBack },
        // 0 would never wait.
        Some(index) => Next { index: index.max(1), finding: Finding::Sound },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_followed_only_forwards() {
        use Finding::{Absent, Sound, WentBack};
        let cases = [
            ((0, Some(7)), (7, Sound)),
            ((7, Some(7)), (7, Sound)),
            ((7, Some(9)), (9, Sound)),
            ((7, Some(6)), (0, WentBack)),
            ((7, Some(0)), (0, WentBack)),
            ((0, Some(0)), (1, Sound)),
            ((7, None), (0, Absent)),
        ];
        for ((asked, answered), (index, finding)) in cases {
            assert_eq!(next(asked, answered), Next { index, finding }, "{asked} {answered:?}");
        }
    }
}
