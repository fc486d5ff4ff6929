//! Permission decisions by asking authz.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;

use super::{AuthzClient, proto};
use crate::contract::client::elapsed;
use crate::kernel::error::{Error, Result};
use crate::kernel::policy::{Authorizer, Decision, DecisionSource, Decisions};
use crate::kernel::telemetry::Metrics;
use crate::kernel::watch::{Heard, Messages};

/// Asks authz, and keeps each decision until authz tells that one may have changed. When authz cannot
/// be asked nothing is allowed, but for what it has allowed within the last second: the error is
/// `UNAVAILABLE`.
pub struct RemoteAuthorizer(Decisions);

impl RemoteAuthorizer {
    /// An authorizer over a client of authz. Must be called within a Tokio runtime.
    pub fn new(client: impl AuthzClient + 'static, metrics: &Metrics) -> Self {
        Self(Decisions::of(Authz(Arc::new(client)), metrics))
    }
}

#[async_trait]
impl Authorizer for RemoteAuthorizer {
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool> {
        self.0.check(subject, permission, resource).await
    }
}

struct Authz(Arc<dyn AuthzClient>);

#[async_trait]
impl DecisionSource for Authz {
    async fn decide(&self, subject: &str, permission: &str, resource: &str) -> Result<Decision> {
        let check = proto::CheckRequest {
            subject: subject.to_owned(),
            permission: permission.to_owned(),
            resource: resource.to_owned(),
        };
        let answer = self.0.batch_check(proto::BatchCheckRequest { checks: vec![check] }).await?;
        match answer.decisions.as_slice() {
            [one] => Ok(Decision { allowed: one.allowed, revision: one.revision }),
            other => {
                let count = other.len();
                Err(Error::internal(anyhow::anyhow!("{count} answers to one question")))
            }
        }
    }

    async fn watch(&self) -> Result<Messages<()>> {
        let messages = self.0.watch_revisions(proto::WatchRevisionsRequest {}).await?;
        Ok(messages.map(|message| message.map(heard)).boxed())
    }
}

fn heard(message: proto::WatchRevisionsResponse) -> Heard<()> {
    let proto::WatchRevisionsResponse { revision, elapsed: after } = message;
    Heard { revision, elapsed: elapsed(after), content: () }
}
