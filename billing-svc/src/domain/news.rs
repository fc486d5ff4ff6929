//! Who changed plans lately, as those are told who keep what users' plans include.

use std::collections::VecDeque;

use chrono::{DateTime, Duration, Utc};
use mainstay::contract::identity::UserId;

/// The most changes that are remembered. Who has missed more is told so.
pub const MOST_CHANGES: usize = 1_000;

/// A user's change of plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanChange {
    /// Its number: how many changes of plans there have been with it.
    pub revision: i64,
    /// The user.
    pub user: UserId,
    /// The plan in force since.
    pub plan: String,
    /// When it was.
    pub time: DateTime<Utc>,
}

/// The changes of the last while, without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanNews {
    /// How many changes there have been; 0 before the first.
    pub revision: i64,
    changes: VecDeque<PlanChange>,
}

impl PlanNews {
    /// How long a change is remembered: longer than an access token lives, so that a token that
    /// names an earlier plan is known to.
    pub fn memory() -> Duration {
        Duration::minutes(15)
    }

    /// These news and newer ones. What is forgotten by now goes.
    pub fn with(&self, revision: i64, newer: Vec<PlanChange>, now: DateTime<Utc>) -> Self {
        let mut changes = self.changes.clone();
        changes.extend(newer);
        let newest = changes.back().map_or(0, |change| change.revision);
        let forgotten = |change: &PlanChange| change.time < now - Self::memory();
        while changes.len() > MOST_CHANGES || changes.front().is_some_and(forgotten) {
            changes.pop_front();
        }
        Self { revision: revision.max(newest), changes }
    }

    /// The changes after a revision, oldest first.
    pub fn after(&self, revision: i64) -> impl Iterator<Item = &PlanChange> {
        self.changes.iter().filter(move |change| change.revision > revision)
    }

    /// Whether changes after a revision are forgotten.
    pub fn is_incomplete_after(&self, revision: i64) -> bool {
        let before_oldest =
            self.changes.front().map_or(self.revision, |oldest| oldest.revision - 1);
        revision < before_oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: i64, minutes_ago: i64) -> PlanChange {
        let time = Utc::now() - Duration::minutes(minutes_ago);
        PlanChange { revision, user: UserId::new(), plan: "paid".into(), time }
    }

    fn revisions(news: &PlanNews, after: i64) -> Vec<i64> {
        news.after(after).map(|change| change.revision).collect()
    }

    #[test]
    fn news_are_those_after_what_is_known() {
        let news = PlanNews::default().with(4, vec![change(3, 2), change(4, 1)], Utc::now());
        let news = news.with(4, vec![change(5, 0)], Utc::now());
        assert_eq!(news.revision, 5, "a change that was committed while the others were read");
        assert_eq!(revisions(&news, 0), [3, 4, 5]);
        assert_eq!(revisions(&news, 4), [5]);
        for (known, incomplete) in [(1, true), (2, false), (5, false)] {
            assert_eq!(news.is_incomplete_after(known), incomplete, "{known}");
        }
    }

    #[test]
    fn what_is_long_ago_or_too_much_is_forgotten_and_that_is_known() {
        let old = PlanNews::default().with(2, vec![change(1, 20), change(2, 16)], Utc::now());
        assert_eq!(revisions(&old, 0), [0; 0]);
        assert!(old.is_incomplete_after(1) && !old.is_incomplete_after(2));

        let last = i64::try_from(MOST_CHANGES).unwrap_or_default() + 3;
        let many = (1..=last).map(|revision| change(revision, 0)).collect();
        let news = PlanNews::default().with(last, many, Utc::now());
        assert_eq!(revisions(&news, 0).len(), MOST_CHANGES);
        assert!(news.is_incomplete_after(2) && !news.is_incomplete_after(3));
    }
}
