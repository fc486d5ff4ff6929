//! Rows, and their way to and from the domain.

/// Table `subscription`.
pub(super) mod subscription {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "subscription")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        #[sea_orm(unique)]
        pub user_id: Uuid,
        pub plan: String,
        pub state: String,
        pub pending_plan: Option<String>,
        pub checkout_url: Option<String>,
        pub checkout_reference: Option<String>,
        pub provider: String,
        pub provider_subscription: Option<String>,
        pub provider_item: Option<String>,
        pub provider_time: Option<DateTimeUtc>,
        pub period_end: Option<DateTimeUtc>,
        pub created: DateTimeUtc,
        pub updated: DateTimeUtc,
        pub version: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `provider_report`: which reports of the payment provider were seen.
pub(super) mod provider_report {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "provider_report")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub kind: String,
        pub received: DateTimeUtc,
        pub applied: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `plan_change`: who changed plans, by number.
pub(super) mod plan_change {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "plan_change")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub revision: i64,
        pub user_id: Uuid,
        pub plan: String,
        pub time: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `plan_revision`: the one row that counts changes of plans.
pub(super) mod plan_revision {
    use sea_orm::entity::prelude::*;

    /// Id of the row.
    pub(crate) const ROW: i32 = 1;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "plan_revision")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub value: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use anyhow::anyhow;
use mainstay::contract::billing::SubscriptionId;
use mainstay::contract::identity::UserId;
use mainstay::kernel::{Error, Result};
use sea_orm::ActiveValue::Set;

use crate::domain::{ProviderSubscription, Subscription, SubscriptionState};

/// States as the database names them.
const STATES: [(SubscriptionState, &str); 4] = [
    (SubscriptionState::Active, "active"),
    (SubscriptionState::Pending, "pending"),
    (SubscriptionState::PastDue, "past_due"),
    (SubscriptionState::Canceled, "canceled"),
];

/// The domain's subscription of a row.
pub(super) fn to_domain(row: subscription::Model) -> Result<Subscription> {
    let state = STATES
        .into_iter()
        .find(|(_, name)| *name == row.state)
        .map(|(state, _)| state)
        .ok_or_else(|| Error::internal(anyhow!("unknown subscription state {}", row.state)))?;
    Ok(Subscription {
        id: SubscriptionId::from(row.id),
        user: UserId::from(row.user_id),
        plan: row.plan,
        state,
        pending_plan: row.pending_plan,
        checkout_url: row.checkout_url,
        checkout_reference: row.checkout_reference,
        provider: row.provider,
        provider_subscription: row
            .provider_subscription
            .map(|id| ProviderSubscription { id, item: row.provider_item }),
        provider_time: row.provider_time,
        period_end: row.period_end,
        created: row.created,
        updated: row.updated,
        version: row.version,
    })
}

/// The row of a subscription.
pub(super) fn from_domain(it: &Subscription) -> subscription::ActiveModel {
    let state = STATES.into_iter().find(|(state, _)| *state == it.state).map(|(_, name)| name);
    let (provider_subscription, provider_item) = match it.provider_subscription.clone() {
        Some(known) => (Some(known.id), known.item),
        None => (None, None),
    };
    subscription::ActiveModel {
        id: Set(it.id.into()),
        user_id: Set(it.user.into()),
        plan: Set(it.plan.clone()),
        state: Set(state.expect("every state has a name").into()),
        pending_plan: Set(it.pending_plan.clone()),
        checkout_url: Set(it.checkout_url.clone()),
        checkout_reference: Set(it.checkout_reference.clone()),
        provider: Set(it.provider.clone()),
        provider_subscription: Set(provider_subscription),
        provider_item: Set(provider_item),
        provider_time: Set(it.provider_time),
        period_end: Set(it.period_end),
        created: Set(it.created),
        updated: Set(it.updated),
        version: Set(it.version),
    }
}
