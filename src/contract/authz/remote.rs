//! Permission decisions by asking authz.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;

use super::{AuthzClient, proto};
use crate::kernel::error::{Error, Result, UNAVAILABLE};
use crate::kernel::policy::Authorizer;

/// How long a decision is believed: so long a role taken away may still be used.
const DECISION_TIME_TO_LIVE: Duration = Duration::from_secs(1);

/// The most decisions remembered at once.
const MAX_DECISIONS: u64 = 100_000;

/// Asks authz, and believes each decision for one second. When authz cannot be asked nothing is
/// allowed: the error is `UNAVAILABLE`.
pub struct RemoteAuthorizer {
    client: Arc<dyn AuthzClient>,
    decisions: Cache<Question, bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    subject: String,
    permission: String,
    resource: String,
}

impl RemoteAuthorizer {
    /// An authorizer over a client of authz.
    pub fn new(client: impl AuthzClient + 'static) -> Self {
        let decisions = Cache::builder()
            .max_capacity(MAX_DECISIONS)
            .time_to_live(DECISION_TIME_TO_LIVE)
            .build();
        Self { client: Arc::new(client), decisions }
    }
}

#[async_trait]
impl Authorizer for RemoteAuthorizer {
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool> {
        let question = Question {
            subject: subject.to_owned(),
            permission: permission.to_owned(),
            resource: resource.to_owned(),
        };
        // Callers with the same question at the same time wait for one answer. Errors are not kept.
        self.decisions
            .try_get_with(question.clone(), ask(&*self.client, question))
            .await
            .map_err(|error: Arc<Error>| unknown(error.to_string()))
    }
}

async fn ask(client: &dyn AuthzClient, question: Question) -> Result<bool> {
    let check = proto::CheckRequest {
        subject: question.subject,
        permission: question.permission,
        resource: question.resource,
    };
    let answer = client.batch_check(proto::BatchCheckRequest { checks: vec![check] }).await?;
    match answer.decisions.as_slice() {
        [decision] => Ok(decision.allowed),
        other => Err(unknown(format!("{} answers to one question", other.len()))),
    }
}

fn unknown(cause: String) -> Error {
    Error::new(UNAVAILABLE, "permissions cannot be checked right now")
        .retry_after(DECISION_TIME_TO_LIVE)
        .because(anyhow::anyhow!(cause))
}
