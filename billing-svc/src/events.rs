//! What billing publishes, and what it does about what others publish.

use mainstay::contract::identity::UserId;
use mainstay::contract::proto::mainstay::billing::v1::SubscriptionChanged;
use mainstay::contract::proto::mainstay::identity::v1::UserDeleted;
use mainstay::kernel::events::{Consumer, Received};

use crate::app::App;
use crate::domain::{Change, Subscription, SubscriptionState};

/// The event that tells a change of a subscription.
pub fn subscription_changed(changed: &Subscription, change: &Change) -> SubscriptionChanged {
    SubscriptionChanged {
        user_id: changed.user.to_string(),
        subscription_id: changed.id.to_string(),
        plan: changed.plan.clone(),
        previous_plan: change.previous_plan.clone(),
        state: state_name(changed.state).into(),
        version: changed.version,
    }
}

/// Ends the subscription of a user who was deleted.
pub fn users(app: App) -> Consumer {
    Consumer::new("users").on::<UserDeleted, _, _>(move |event: Received<UserDeleted>| {
        let app = app.clone();
        async move {
            let user = UserId::parse(&event.payload.user_id)?;
            app.subscription_end_of_deleted_user(user).await
        }
    })
}

fn state_name(state: SubscriptionState) -> &'static str {
    match state {
        SubscriptionState::Active => "SUBSCRIPTION_STATE_ACTIVE",
        SubscriptionState::Pending => "SUBSCRIPTION_STATE_PENDING",
        SubscriptionState::PastDue => "SUBSCRIPTION_STATE_PAST_DUE",
        SubscriptionState::Canceled => "SUBSCRIPTION_STATE_CANCELED",
    }
}
