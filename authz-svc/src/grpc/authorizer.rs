//! How authz guards itself: as every service it asks authz, but without a call to itself.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay::kernel::Result;
use mainstay::kernel::policy::Authorizer;

use crate::app::App;
use crate::domain::{PermissionName, Question, Subject};

/// [`Authorizer`] over the use cases.
pub struct LocalAuthorizer {
    app: Arc<App>,
}

impl LocalAuthorizer {
    /// An authorizer that answers as `BatchCheck` does.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl Authorizer for LocalAuthorizer {
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool> {
        let question = Question {
            subject: Subject::parse("subject", subject)?,
            permission: PermissionName::parse("permission", permission)?,
            resource: resource.to_owned(),
        };
        let verdicts = self.app.decide(&[question]).await?;
        Ok(verdicts.iter().all(|verdict| verdict.allowed) && !verdicts.is_empty())
    }
}
