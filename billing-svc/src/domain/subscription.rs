//! A user's subscription and how it changes. Time and decisions come in as values, so that every
//! rule is tested without a clock, a database or a provider.

use chrono::{DateTime, Utc};
use mainstay::contract::billing::SubscriptionId;
use mainstay::contract::identity::UserId;

use super::plan::FREE_PLAN;
use super::provider::{Checkout, ProviderStatus, ProviderSubscription, Report};

/// How a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// In force.
    Active,
    /// The plan asked for is not yet confirmed; the plan before is in force.
    Pending,
    /// A payment failed and is tried again; the plan stays in force.
    PastDue,
    /// Cancelled; the plan is free.
    Canceled,
}

/// A user's subscription. Each user has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub user: UserId,
    /// The plan in force.
    pub plan: String,
    /// How it stands.
    pub state: SubscriptionState,
    /// The plan asked for while pending.
    pub pending_plan: Option<String>,
    /// Where the user pays while pending.
    pub checkout_url: Option<String>,
    /// The provider's id of the checkout while pending.
    pub checkout_reference: Option<String>,
    /// Name of the provider that keeps it.
    pub provider: String,
    /// The provider's side, once there is one.
    pub provider_subscription: Option<ProviderSubscription>,
    /// When the last report that was applied happened.
    pub provider_time: Option<DateTime<Utc>>,
    /// End of the paid period.
    pub period_end: Option<DateTime<Utc>>,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When it was last changed.
    pub updated: DateTime<Utc>,
    /// Grows with every change.
    pub version: i64,
}

/// What the platform is told of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The plan until now.
    pub previous_plan: String,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A paid subscription runs.
    #[error("a paid subscription runs already")]
    AlreadySubscribed,
    /// There is nothing to change or cancel.
    #[error("there is no paid subscription")]
    NotSubscribed,
}

impl Subscription {
    /// The subscription of a user who never subscribed.
    pub fn free(user: UserId, provider: &str, now: DateTime<Utc>) -> Self {
        Self {
            id: SubscriptionId::new(),
            user,
            plan: FREE_PLAN.into(),
            state: SubscriptionState::Active,
            pending_plan: None,
            checkout_url: None,
            checkout_reference: None,
            provider: provider.into(),
            provider_subscription: None,
            provider_time: None,
            period_end: None,
            created: now,
            updated: now,
            version: 1,
        }
    }

    /// Whether a plan that is not free is in force.
    pub fn is_paid(&self) -> bool {
        self.plan != FREE_PLAN
    }

    /// Whether a purchase may begin.
    pub fn may_subscribe(&self) -> Result<(), Refusal> {
        if self.is_paid() { Err(Refusal::AlreadySubscribed) } else { Ok(()) }
    }

    /// Whether the plan may be changed.
    pub fn may_change(&self) -> Result<(), Refusal> {
        if self.is_paid() { Ok(()) } else { Err(Refusal::NotSubscribed) }
    }

    /// Whether it may be cancelled. One that was cancelled before may be cancelled again, to no effect.
    pub fn may_cancel(&self) -> Result<(), Refusal> {
        let pending = self.state == SubscriptionState::Pending;
        let canceled = self.state == SubscriptionState::Canceled;
        if self.is_paid() || pending || canceled { Ok(()) } else { Err(Refusal::NotSubscribed) }
    }

    /// Takes in how the provider answered the purchase of `plan`.
    pub fn purchased(
        &mut self,
        plan: &str,
        provider: &str,
        checkout: Checkout,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        self.changed(now, |it| {
            it.provider = provider.into();
            match checkout {
                Checkout::Active { period_end } => it.activate(plan, period_end),
                Checkout::Pending { url, reference } => {
                    // A plan in force stays so while its successor waits for the provider.
                    it.state = SubscriptionState::Pending;
                    it.pending_plan = Some(plan.into());
                    it.checkout_url = Some(url).filter(|url| !url.is_empty());
                    it.checkout_reference = Some(reference).filter(|id| !id.is_empty());
                }
            }
        })
    }

    /// Cancels: the plan is free from now on.
    pub fn cancel(&mut self, now: DateTime<Utc>) -> Option<Change> {
        self.changed(now, Self::end)
    }

    /// Takes in a report that happened at `time`. Reports may come late, twice and in any order:
    /// one older than the last applied, of a subscription that was replaced, or of one that is
    /// over, changes nothing.
    pub fn reported(
        &mut self,
        report: &Report,
        time: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        if self.is_outdated(report, time) {
            return None;
        }
        self.changed(now, |it| {
            it.provider_time = Some(time);
            if let Some(id) = &report.provider_subscription {
                let known = it.provider_subscription.take().filter(|known| known.id == *id);
                let item = report.provider_item.clone().or(known.and_then(|known| known.item));
                it.provider_subscription = Some(ProviderSubscription { id: id.clone(), item });
            }
            let plan = report.plan.clone().or(it.pending_plan.clone()).unwrap_or(it.plan.clone());
            match report.status {
                ProviderStatus::Active => it.activate(&plan, report.period_end),
                ProviderStatus::PastDue => {
                    it.activate(&plan, report.period_end);
                    it.state = SubscriptionState::PastDue;
                }
                ProviderStatus::Pending => it.state = SubscriptionState::Pending,
                ProviderStatus::Ended => it.end(),
            }
        })
    }

    fn is_outdated(&self, report: &Report, time: DateTime<Utc>) -> bool {
        if self.provider_time.is_some_and(|last| time < last) {
            return true;
        }
        let known = self.provider_subscription.as_ref().map(|known| known.id.as_str());
        let same = known.is_some() && known == report.provider_subscription.as_deref();
        match report.status {
            // The end of one subscription says nothing of the one that replaced it.
            ProviderStatus::Ended => known.is_some() && !same,
            // A provider never revives a subscription: what still comes of it is late.
            _ => same && self.state == SubscriptionState::Canceled,
        }
    }

    fn activate(&mut self, plan: &str, period_end: Option<DateTime<Utc>>) {
        self.plan = plan.into();
        self.state = SubscriptionState::Active;
        self.period_end = period_end.or(self.period_end);
        self.pending_plan = None;
        self.checkout_url = None;
        self.checkout_reference = None;
    }

    fn end(&mut self) {
        self.activate(FREE_PLAN, None);
        self.state = SubscriptionState::Canceled;
        self.period_end = None;
    }

    /// Runs a change; counts and tells it only if it changed something.
    fn changed(&mut self, now: DateTime<Utc>, change: impl FnOnce(&mut Self)) -> Option<Change> {
        let before = self.clone();
        change(self);
        if *self == before {
            return None;
        }
        self.updated = now;
        self.version += 1;
        Some(Change { previous_plan: before.plan })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).expect("in range")
    }

    fn fresh() -> Subscription {
        Subscription::free(UserId::new(), "stripe", at(0))
    }

    fn report(id: &str, status: ProviderStatus, plan: &str) -> Report {
        Report {
            user: None,
            provider_subscription: Some(id.into()),
            provider_item: Some("si_1".into()),
            status,
            plan: Some(plan.into()),
            period_end: Some(at(1000)),
        }
    }

    #[test]
    fn reports_end_in_the_same_state_in_whatever_order_they_come() {
        let reports = [
            (report("sub_1", ProviderStatus::Pending, "paid"), at(1)),
            (report("sub_1", ProviderStatus::Active, "paid"), at(2)),
            (report("sub_1", ProviderStatus::Active, "ai"), at(3)),
        ];
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for order in orders {
            let mut subscription = fresh();
            for index in order {
                let (report, time) = &reports[index];
                subscription.reported(report, *time, at(9));
                subscription.reported(report, *time, at(9));
            }
            assert_eq!(subscription.plan, "ai", "{order:?}");
            assert_eq!(subscription.state, SubscriptionState::Active, "{order:?}");
        }
    }

    #[test]
    fn a_subscription_that_ended_is_not_revived_by_a_late_report() {
        let mut subscription = fresh();
        subscription.reported(&report("sub_1", ProviderStatus::Ended, "paid"), at(5), at(5));
        let late =
            subscription.reported(&report("sub_1", ProviderStatus::Active, "paid"), at(5), at(6));
        assert_eq!(late, None);
        assert_eq!(subscription.plan, FREE_PLAN);
    }

    #[test]
    fn the_end_of_an_old_subscription_does_not_end_its_successor() {
        let mut subscription = fresh();
        subscription.reported(&report("sub_1", ProviderStatus::Active, "paid"), at(1), at(1));
        subscription.cancel(at(2));
        subscription.reported(&report("sub_2", ProviderStatus::Active, "ai"), at(3), at(3));
        let end =
            subscription.reported(&report("sub_1", ProviderStatus::Ended, "paid"), at(4), at(4));
        assert_eq!(end, None);
        assert_eq!(subscription.plan, "ai");
    }

    #[test]
    fn repeating_a_report_changes_nothing() {
        let mut subscription = fresh();
        let active = report("sub_1", ProviderStatus::Active, "paid");
        assert!(subscription.reported(&active, at(1), at(1)).is_some());
        let version = subscription.version;
        assert!(subscription.reported(&active, at(1), at(2)).is_none());
        assert_eq!(subscription.version, version);
    }

    #[test]
    fn a_pending_change_keeps_the_plan_in_force() {
        let mut subscription = fresh();
        subscription.purchased("paid", "manual", Checkout::Active { period_end: None }, at(1));
        let pending = Checkout::Pending { url: String::new(), reference: String::new() };
        subscription.purchased("ai", "stripe", pending, at(2));
        assert_eq!(subscription.plan, "paid");
        assert_eq!(subscription.pending_plan.as_deref(), Some("ai"));
        assert_eq!(subscription.may_subscribe(), Err(Refusal::AlreadySubscribed));
    }
}
