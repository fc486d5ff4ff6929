//! What those are told who keep what users' plans include: who changed plans.

use std::time::Duration;

use async_trait::async_trait;
use mainstay::contract::proto::mainstay::billing::v1 as wire;
use mainstay::kernel::Result;
use mainstay::kernel::database::News;
use mainstay::kernel::watch::FeedSource;

use crate::app::App;
use crate::domain::{Catalogue, PlanChange, PlanNews};

/// The changes of plans, read anew whenever one was committed, by whichever replica.
pub struct Plans {
    app: App,
    news: News,
}

impl Plans {
    /// The changes as the use cases know them; `news` tells of commits.
    pub fn new(app: App, news: News) -> Self {
        Self { app, news }
    }
}

#[async_trait]
impl FeedSource for Plans {
    type State = PlanNews;

    async fn read(&self, before: Option<&PlanNews>) -> Result<PlanNews> {
        match before {
            Some(before) => self.app.plan_news(before).await,
            None => self.app.plan_news(&PlanNews::default()).await,
        }
    }

    async fn changed(&self) {
        self.news.next().await;
    }
}

/// Makes the messages of one stream: each says what the one before did not.
pub(super) struct Teller {
    told: i64,
    /// Nothing was asked for but what is news: nothing is missing.
    is_fresh: bool,
}

impl Teller {
    /// For one who knows everything up to a revision; 0 knows nothing.
    pub(super) fn after(revision: i64) -> Self {
        Self { told: revision, is_fresh: revision == 0 }
    }

    /// What is new, so long after the request had arrived.
    pub(super) fn message(
        &mut self,
        news: &PlanNews,
        elapsed: Duration,
        catalogue: &Catalogue,
    ) -> wire::WatchPlansResponse {
        let incomplete = !self.is_fresh && news.is_incomplete_after(self.told);
        let changes = news.after(self.told).map(|change| render(change, catalogue)).collect();
        (self.told, self.is_fresh) = (news.revision, false);
        wire::WatchPlansResponse {
            revision: news.revision,
            elapsed: elapsed.try_into().ok(),
            changes,
            incomplete,
            catalogue: catalogue.fingerprint(),
        }
    }
}

fn render(change: &PlanChange, catalogue: &Catalogue) -> wire::PlanChange {
    wire::PlanChange {
        user_id: change.user.to_string(),
        plan: change.plan.clone(),
        features: catalogue.features(&change.plan).to_vec(),
    }
}
