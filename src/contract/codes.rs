//! The whole table of error codes: those of the kernel and those of each area.

use std::sync::LazyLock;

use super::{auth, authz, billing, identity};
use crate::kernel::error::{self, ErrorCode};

/// Every row of the table. Reasons are unique: clients branch on them.
pub fn error_codes() -> Vec<&'static ErrorCode> {
    static TABLE: LazyLock<Vec<ErrorCode>> = LazyLock::new(table);
    TABLE.iter().collect()
}

fn table() -> Vec<ErrorCode> {
    vec![
        error::INVALID_ARGUMENT,
        error::NOT_FOUND,
        error::ALREADY_EXISTS,
        error::UNAUTHENTICATED,
        error::PERMISSION_DENIED,
        error::FEATURE_NOT_INCLUDED,
        error::ETAG_MISMATCH,
        error::FAILED_PRECONDITION,
        error::ABORTED,
        error::RATE_LIMITED,
        error::PAYLOAD_TOO_LARGE,
        error::UNAVAILABLE,
        error::DEADLINE_EXCEEDED,
        error::UNIMPLEMENTED,
        error::INTERNAL,
        auth::EMAIL_TAKEN,
        auth::INVALID_CREDENTIALS,
        auth::TOKEN_INVALID,
        auth::TOKEN_REUSED,
        auth::OVERLOADED,
        auth::SESSION_NOT_FOUND,
        auth::API_KEY_INVALID,
        auth::API_KEY_NOT_FOUND,
        auth::TOO_MANY_API_KEYS,
        auth::LOGIN_NEEDED,
        identity::USER_EMAIL_TAKEN,
        authz::ROLE_NAME_TAKEN,
        authz::ROLE_BUILT_IN,
        authz::ROLE_IN_USE,
        authz::BINDING_EXISTS,
        authz::LAST_ADMIN,
        billing::PLAN_UNKNOWN,
        billing::ALREADY_SUBSCRIBED,
        billing::NOT_SUBSCRIBED,
        billing::WEBHOOK_SIGNATURE_INVALID,
        billing::PROVIDER_UNAVAILABLE,
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reasons_are_unique_and_upper_snake() {
        let mut seen = HashSet::new();
        for code in error_codes() {
            let reason = code.reason.as_ref();
            assert!(seen.insert(reason), "{reason} stands in the table twice");
            assert!(
                reason.starts_with(|first: char| first.is_ascii_uppercase())
                    && reason
                        .chars()
                        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'),
                "{reason} is not UPPER_SNAKE"
            );
        }
    }

    #[test]
    fn every_code_is_an_error_over_http_too() {
        for code in error_codes() {
            assert!((400..600).contains(&code.http), "{} has status {}", code.reason, code.http);
        }
    }
}
