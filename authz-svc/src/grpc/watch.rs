//! What those are told who keep decisions: the revision that decisions follow from.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay::kernel::Result;
use mainstay::kernel::database::News;
use mainstay::kernel::watch::FeedSource;

use crate::app::App;

/// The revision, read anew whenever a change was committed, by whichever replica.
pub struct Revisions {
    app: Arc<App>,
    news: News,
}

impl Revisions {
    /// The revision as the use cases know it; `news` tells of commits.
    pub fn new(app: Arc<App>, news: News) -> Self {
        Self { app, news }
    }
}

#[async_trait]
impl FeedSource for Revisions {
    type State = i64;

    async fn read(&self, _: Option<&i64>) -> Result<i64> {
        self.app.revision().await
    }

    async fn changed(&self) {
        self.news.next().await;
    }
}
