//! Telling other processes at once that a user's plan has changed, where they share a memory. They
//! find out by themselves within a second, so that nothing depends on it.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mainstay::contract::billing::PlanNews;
use mainstay::contract::identity::UserId;
use mainstay::kernel::Result;

use crate::domain::{Change, ProviderReport, Subscription, SubscriptionStore};

/// A store that tells of what it has stored.
pub struct Told {
    store: Arc<dyn SubscriptionStore>,
    news: PlanNews,
}

impl Told {
    /// Tells the news of what this store stores.
    pub fn new(store: impl SubscriptionStore + 'static, news: PlanNews) -> Self {
        Self { store: Arc::new(store), news }
    }
}

#[async_trait]
impl SubscriptionStore for Told {
    async fn subscription_find(&self, user: UserId) -> Result<Option<Subscription>> {
        self.store.subscription_find(user).await
    }

    async fn subscription_ensure(&self, fresh: Subscription) -> Result<Subscription> {
        self.store.subscription_ensure(fresh).await
    }

    async fn subscription_save(&self, changed: &Subscription, change: &Change) -> Result<()> {
        self.store.subscription_save(changed, change).await?;
        self.news.changed(&changed.user.to_string()).await;
        Ok(())
    }

    async fn report_apply(&self, report: &ProviderReport, now: DateTime<Utc>) -> Result<bool> {
        let applied = self.store.report_apply(report, now).await?;
        let user = report.content.as_ref().and_then(|content| content.user);
        if let Some(user) = user.filter(|_| applied) {
            self.news.changed(&user.to_string()).await;
        }
        Ok(applied)
    }

    async fn report_prune(&self, until: DateTime<Utc>) -> Result<u64> {
        self.store.report_prune(until).await
    }
}
