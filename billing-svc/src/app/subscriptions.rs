//! Subscribing, changing, cancelling, and what follows from the plan in force.

use mainstay::contract::billing::{ALREADY_SUBSCRIBED, NOT_SUBSCRIBED};
use mainstay::contract::identity::UserId;
use mainstay::kernel::{Error, Result};

use super::{App, now};
use crate::domain::{FREE_PLAN, Plan, Purchase, Refusal, Subscription};

impl App {
    /// The user's subscription; begun as `free` if the user has none.
    pub async fn subscription_get(&self, user: UserId) -> Result<Subscription> {
        match self.store.subscription_find(user).await? {
            Some(found) => Ok(found),
            None => self.store.subscription_ensure(self.fresh(user)).await,
        }
    }

    /// The subscription that a change begins from. One that is fresh is stored with the change and
    /// not before, so that a change that is refused leaves nothing behind.
    async fn subscription_to_change(&self, user: UserId) -> Result<Subscription> {
        Ok(self.store.subscription_find(user).await?.unwrap_or_else(|| self.fresh(user)))
    }

    fn fresh(&self, user: UserId) -> Subscription {
        Subscription::free(user, self.provider.name(), now())
    }

    /// Subscribes a user to a plan. With a provider that asks for payment the plan is in force when
    /// the provider reports it.
    pub async fn subscription_create(&self, user: UserId, plan: &str) -> Result<Subscription> {
        let plan = self.plan(plan)?;
        let subscription = self.subscription_to_change(user).await?;
        subscription.may_subscribe().map_err(refused)?;
        if plan.id == FREE_PLAN {
            return self.subscription_get(user).await;
        }
        let checkout = self.provider.purchase(purchase(&subscription, plan)).await?;
        self.subscription_purchased(subscription, plan, checkout).await
    }

    /// Changes the plan of a running subscription; to `free` is to cancel it.
    pub async fn subscription_update(&self, user: UserId, plan: &str) -> Result<Subscription> {
        let plan = self.plan(plan)?;
        let subscription = self.subscription_to_change(user).await?;
        subscription.may_change().map_err(refused)?;
        if plan.id == FREE_PLAN {
            return self.subscription_cancel(user).await;
        }
        if plan.id == subscription.plan && subscription.pending_plan.is_none() {
            return Ok(subscription);
        }
        let running = subscription.provider_subscription.as_ref();
        let checkout = self.provider.change(running, purchase(&subscription, plan)).await?;
        self.subscription_purchased(subscription, plan, checkout).await
    }

    /// Cancels a user's subscription at once, with the provider first, so that nobody pays for what
    /// they no longer have.
    pub async fn subscription_cancel(&self, user: UserId) -> Result<Subscription> {
        let mut subscription = self.subscription_to_change(user).await?;
        subscription.may_cancel().map_err(refused)?;
        let running = subscription.provider_subscription.as_ref();
        let checkout = subscription.checkout_reference.as_deref();
        self.provider.cancel(running, checkout).await?;
        if let Some(change) = subscription.cancel(now()) {
            self.store.subscription_save(&subscription, &change).await?;
        }
        Ok(subscription)
    }

    /// Ends what a deleted user had; a user who had nothing is no error.
    pub async fn subscription_end_of_deleted_user(&self, user: UserId) -> Result<()> {
        let Some(subscription) = self.store.subscription_find(user).await? else { return Ok(()) };
        if subscription.may_cancel().is_ok() {
            self.subscription_cancel(user).await?;
        }
        Ok(())
    }

    /// The plan in force for a user and what it includes. A user who never came here is on `free`.
    pub async fn entitlements(&self, user: UserId) -> Result<(String, Vec<String>)> {
        let found = self.store.subscription_find(user).await?;
        let plan = found.map_or_else(|| FREE_PLAN.to_owned(), |subscription| subscription.plan);
        let features = self.catalogue.features(&plan).to_vec();
        Ok((plan, features))
    }

    async fn subscription_purchased(
        &self,
        mut subscription: Subscription,
        plan: &Plan,
        checkout: crate::domain::Checkout,
    ) -> Result<Subscription> {
        let change = subscription.purchased(&plan.id, self.provider.name(), checkout, now());
        if let Some(change) = change {
            self.store.subscription_save(&subscription, &change).await?;
        }
        Ok(subscription)
    }
}

fn purchase(subscription: &Subscription, plan: &Plan) -> Purchase {
    Purchase {
        user: subscription.user,
        subscription: subscription.id,
        version: subscription.version,
        plan: plan.id.clone(),
        stripe_price: plan.stripe_price.clone(),
    }
}

fn refused(refusal: Refusal) -> Error {
    let code = match refusal {
        Refusal::AlreadySubscribed => ALREADY_SUBSCRIBED,
        Refusal::NotSubscribed => NOT_SUBSCRIBED,
    };
    Error::new(code, refusal.to_string())
}
