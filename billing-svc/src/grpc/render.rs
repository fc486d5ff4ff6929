//! From the domain to the wire.

use mainstay::contract::proto::mainstay::billing::v1 as wire;
use mainstay::kernel::time::timestamp;

use crate::domain::{Plan, Subscription, SubscriptionState};

pub(super) fn plan(plan: &Plan) -> wire::Plan {
    wire::Plan {
        id: plan.id.clone(),
        title: plan.title.clone(),
        description: plan.description.clone(),
        price_minor_units: i32::try_from(plan.price_minor_units).unwrap_or(i32::MAX),
        currency: plan.currency.clone(),
        interval: plan.interval.clone(),
        features: plan.features.clone(),
    }
}

pub(super) fn subscription(it: Subscription) -> wire::Subscription {
    wire::Subscription {
        id: it.id.to_string(),
        user_id: it.user.to_string(),
        plan: it.plan,
        state: state(it.state).into(),
        pending_plan: it.pending_plan.unwrap_or_default(),
        checkout_url: it.checkout_url.unwrap_or_default(),
        provider: it.provider,
        period_end_time: it.period_end.map(timestamp),
        create_time: Some(timestamp(it.created)),
        update_time: Some(timestamp(it.updated)),
    }
}

fn state(state: SubscriptionState) -> wire::SubscriptionState {
    match state {
        SubscriptionState::Active => wire::SubscriptionState::Active,
        SubscriptionState::Pending => wire::SubscriptionState::Pending,
        SubscriptionState::PastDue => wire::SubscriptionState::PastDue,
        SubscriptionState::Canceled => wire::SubscriptionState::Canceled,
    }
}
