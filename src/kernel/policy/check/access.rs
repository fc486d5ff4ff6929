//! Who may call, and whether that fits the route.

use prost_reflect::Value;

use super::methods::Stated;
use super::options::alternative;

pub(super) fn check(stated: &Stated, faults: &mut Vec<String>) {
    let Some((kind, value)) = alternative(&stated.policy, "access") else {
        return faults.push(
            "states no access; state one of `public: true`, `authenticated: true`, \
             `permission: \"area.resource.verb\"`, `internal: true`, `webhook: true`"
                .to_owned(),
        );
    };
    match &value {
        Value::Bool(false) => faults.push(format!(
            "states `{kind}: false`, which gives access to nobody; state `true`, or another kind \
             of access"
        )),
        Value::String(permission) if !is_permission(permission) => faults.push(format!(
            "the permission {permission:?} is not of the form area.resource.verb; write three \
             lower-case words joined by points, such as \"identity.users.read\""
        )),
        _ => {}
    }
    match (kind.as_str(), stated.is_routed()) {
        ("internal", true) => faults.push(
            "is internal and has a route; remove `google.api.http`, or state another access"
                .to_owned(),
        ),
        ("public" | "webhook", false) => faults.push(format!(
            "is {kind} and has no route by which the public could reach it; add \
             `option (google.api.http) = {{ … }};`, or state another access"
        )),
        _ => {}
    }
}

fn is_permission(permission: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-')
    };
    permission.split('.').count() == 3 && permission.split('.').all(is_word)
}
