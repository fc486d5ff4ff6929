//! Changes of plans, for those who keep what users' plans include.

use mainstay::kernel::Result;

use super::{App, now};
use crate::domain::PlanNews;

impl App {
    /// The news there are now; `before` is what was known.
    pub async fn plan_news(&self, before: &PlanNews) -> Result<PlanNews> {
        let now = now();
        let revision = self.store.plan_revision().await?;
        let newer = match revision == before.revision {
            true => Vec::new(),
            false => {
                let since = now - PlanNews::memory();
                self.store.plan_change_list(before.revision, since).await?
            }
        };
        Ok(before.with(revision, newer, now))
    }

    /// Forgets the changes that are no news any more.
    pub async fn plan_change_prune(&self) -> Result<()> {
        let pruned = self.store.plan_change_prune(now() - PlanNews::memory()).await?;
        tracing::debug!(pruned, "old changes of plans forgotten");
        Ok(())
    }
}
