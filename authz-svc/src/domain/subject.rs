//! Who holds roles.

use mainstay::contract::identity::UserId;
use mainstay::kernel::{Error, Result};

/// The most bytes of a service's name: that of a DNS label.
const MAX_SERVICE_NAME_BYTES: usize = 63;

/// A user or a service, written `user:<id>` or `service:<name>`.
///
/// Authz keeps no list of users. Events arrive in no order across services, so a binding may name a
/// user of whom authz has not heard; a user who was deleted is remembered and gets no role again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// A service, by its identity in the mesh.
    Service(String),
}

impl Subject {
    /// Reads a subject, or answers `INVALID_ARGUMENT` naming the field.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("user", id)) if is_plain_uuid(id) => Ok(Self::User(UserId::parse(id)?)),
            Some(("service", name)) if is_service_name(name) => Ok(Self::Service(name.to_owned())),
            _ => Err(Error::invalid(field, "must be user:<id> or service:<name>")),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(formatter, "user:{id}"),
            Self::Service(name) => write!(formatter, "service:{name}"),
        }
    }
}

/// One spelling only: a second spelling of an id would be a second subject to everyone who compares
/// text.
fn is_plain_uuid(id: &str) -> bool {
    UserId::parse(id).is_ok_and(|parsed| parsed.to_string() == id)
}

fn is_service_name(name: &str) -> bool {
    name.len() <= MAX_SERVICE_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use super::*;

    #[test]
    fn subjects_read_what_they_write() {
        for text in ["user:01900000-0000-7000-8000-00000000abcd", "service:identity-svc"] {
            assert_eq!(Subject::parse("subject", text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_by_field_name() {
        let bad = [
            "",
            "user:",
            "user:x",
            "user:01900000-0000-7000-8000-00000000ABCD",
            "user:0190000000007000800000000000abcd",
            "users:01900000-0000-7000-8000-00000000abcd",
            "service:",
            "service:Identity",
            "service:a b",
            "group:staff",
        ];
        for text in bad {
            let error = Subject::parse("subject", text).unwrap_err();
            assert_eq!(error.violations()[0].field, "subject", "{text:?}");
        }
    }
}
