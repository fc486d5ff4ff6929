//! Decisions, and who may ask for them.

use mainstay::kernel::error::PERMISSION_DENIED;
use mainstay::kernel::{Error, Result};

use super::App;
use crate::domain::{Grant, GrantSet, PermissionName, Question, Subject, Verdict};

/// What it takes to ask about somebody else.
const READ_DECISIONS: &str = "authz.decisions.read";

impl App {
    /// Answers questions of the platform itself, all at one revision and in their order.
    pub async fn decide(&self, questions: &[Question]) -> Result<Vec<Verdict>> {
        let mut subjects: Vec<Subject> =
            questions.iter().map(|question| question.subject.clone()).collect();
        subjects.sort();
        subjects.dedup();
        let grants = self.store.grant_list(&subjects).await?;
        Ok(questions.iter().map(|question| grants.decide(question)).collect())
    }

    /// The revision that decisions follow from now.
    pub async fn revision(&self) -> Result<i64> {
        self.store.revision().await
    }

    /// Answers a question that `caller` asks: of itself, or of others with the permission for it.
    pub async fn decide_for(&self, caller: &Subject, question: &Question) -> Result<Verdict> {
        let grants = self.readable_grants(caller, &question.subject).await?;
        Ok(grants.decide(question))
    }

    /// What the subject holds, if `caller` may know it.
    pub async fn grant_list(&self, caller: &Subject, subject: &Subject) -> Result<Vec<Grant>> {
        Ok(self.readable_grants(caller, subject).await?.of(subject).to_vec())
    }

    async fn readable_grants(&self, caller: &Subject, subject: &Subject) -> Result<GrantSet> {
        let grants = self.store.grant_list(&[caller.clone(), subject.clone()]).await?;
        if caller == subject || grants.decide(&may_read_decisions(caller)?).allowed {
            return Ok(grants);
        }
        let message = "to ask about others takes the permission authz.decisions.read";
        Err(Error::new(PERMISSION_DENIED, message).detail("permission", READ_DECISIONS))
    }
}

fn may_read_decisions(caller: &Subject) -> Result<Question> {
    Ok(Question {
        subject: caller.clone(),
        permission: PermissionName::parse("permission", READ_DECISIONS)?,
        resource: String::new(),
    })
}
