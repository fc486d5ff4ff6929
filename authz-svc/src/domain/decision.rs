//! Decisions: may a subject do what a permission allows, on a resource?
//!
//! Nothing is allowed unless a binding of the subject says so. A binding with no resource holds
//! everywhere; one with a resource holds for exactly that resource. A question that names no
//! resource asks about everything, so only a binding that holds everywhere answers it with yes.

use std::collections::HashMap;

use super::permission::{PermissionName, PermissionPattern};
use super::resource::Resource;
use super::role::RoleName;
use super::subject::Subject;

/// What one binding gives its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The role it comes from.
    pub role_name: RoleName,
    /// The one resource it holds on; `None` holds everywhere.
    pub resource: Option<Resource>,
    /// What the role holds.
    pub permissions: Vec<PermissionPattern>,
}

impl Grant {
    fn allows(&self, permission: &PermissionName, resource: &str) -> bool {
        let applies = self.resource.as_ref().is_none_or(|bound| bound.as_str() == resource);
        applies && self.permissions.iter().any(|pattern| pattern.holds(permission))
    }
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who wants to act.
    pub subject: Subject,
    /// What the subject must hold.
    pub permission: PermissionName,
    /// What the subject wants to act on; empty for everything. Whatever the caller names is
    /// compared as it is.
    pub resource: String,
}

/// The answer to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Revision of roles and bindings that decided it.
    pub revision: i64,
}

/// The grants of some subjects, all of one revision.
#[derive(Clone, Debug, Default)]
pub struct GrantSet {
    /// Revision of roles and bindings.
    pub revision: i64,
    /// Grants by subject; a subject that is absent has none.
    pub grants: HashMap<Subject, Vec<Grant>>,
}

impl GrantSet {
    /// The grants of a subject.
    pub fn of(&self, subject: &Subject) -> &[Grant] {
        self.grants.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Answers a question about one of the subjects.
    pub fn decide(&self, question: &Question) -> Verdict {
        let allowed = self
            .of(&question.subject)
            .iter()
            .any(|grant| grant.allows(&question.permission, &question.resource));
        Verdict { allowed, revision: self.revision }
    }

    /// The first pattern that the subject does not hold everywhere.
    pub fn first_not_held<'p>(
        &self,
        subject: &Subject,
        wanted: &'p [PermissionPattern],
    ) -> Option<&'p PermissionPattern> {
        let held: Vec<&PermissionPattern> = self
            .of(subject)
            .iter()
            .filter(|grant| grant.resource.is_none())
            .flat_map(|grant| &grant.permissions)
            .collect();
        wanted.iter().find(|wanted| !held.iter().any(|pattern| pattern.covers(wanted)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use super::*;

    const ALICE: &str = "user:01900000-0000-7000-8000-00000000000a";

    fn grant(resource: &str, permissions: &[&str]) -> Grant {
        Grant {
            role_name: RoleName::parse("name", "some-role").unwrap(),
            resource: Resource::parse("resource", resource).unwrap(),
            permissions: patterns(permissions),
        }
    }

    fn patterns(texts: &[&str]) -> Vec<PermissionPattern> {
        texts.iter().map(|text| PermissionPattern::parse("permissions", text).unwrap()).collect()
    }

    fn alice() -> Subject {
        Subject::parse("subject", ALICE).unwrap()
    }

    fn set(grants: Vec<Grant>) -> GrantSet {
        GrantSet { revision: 7, grants: HashMap::from([(alice(), grants)]) }
    }

    #[test]
    fn decisions_follow_permission_and_resource() {
        let grants = set(vec![
            grant("", &["identity.users.list", "audit.*"]),
            grant("users/1", &["identity.users.*"]),
        ]);
        let table = [
            ("identity.users.list", "", true),
            ("identity.users.list", "users/2", true),
            ("audit.events.read", "audit-events/9", true),
            ("identity.users.read", "users/1", true),
            ("identity.users.read", "users/12", false),
            ("identity.users.read", "users/1/x", false),
            ("identity.users.read", "", false),
            ("billing.plans.read", "users/1", false),
        ];
        for (permission, resource, expected) in table {
            let question = Question {
                subject: alice(),
                permission: PermissionName::parse("permission", permission).unwrap(),
                resource: resource.to_owned(),
            };
            let verdict = grants.decide(&question);
            assert_eq!(verdict, Verdict { allowed: expected, revision: 7 }, "{question:?}");
        }
    }

    #[test]
    fn a_subject_without_grants_may_nothing() {
        let question = Question {
            subject: Subject::Service("identity-svc".into()),
            permission: PermissionName::parse("permission", "a.b.c").unwrap(),
            resource: String::new(),
        };
        assert!(!set(vec![grant("", &["*"])]).decide(&question).allowed);
    }

    #[test]
    fn only_what_is_held_everywhere_can_be_granted() {
        let grants = set(vec![grant("", &["audit.*"]), grant("users/1", &["identity.users.read"])]);
        let first = |wanted: &[&str]| {
            let wanted = patterns(wanted);
            grants.first_not_held(&alice(), &wanted).map(|pattern| pattern.as_str().to_owned())
        };
        assert_eq!(first(&[]), None);
        assert_eq!(first(&["audit.events.*", "audit.*"]), None);
        assert_eq!(first(&["audit.*", "identity.users.read"]).unwrap(), "identity.users.read");
        assert_eq!(first(&["*"]).unwrap(), "*");
    }
}
