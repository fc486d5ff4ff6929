//! How records name actions, resources and sources.

/// What the names of our own messages begin with; records leave it out.
const PACKAGE_PREFIX: &str = "mainstay.";

/// The action for the type of an event or the name of a method: `identity.v1.UserUpdated`.
pub fn action_name(full_name: &str) -> String {
    full_name.strip_prefix(PACKAGE_PREFIX).unwrap_or(full_name).to_owned()
}

/// The resource that an event is about, from the field that its contract states as key:
///
/// | key field | key | resource |
/// |---|---|---|
/// | `user_id`, `role_id`, `…_id` | an id | `users/<id>`, `roles/<id>`, `…s/<id>` |
/// | `service` and other names of a kind | a name | `services/<name>` |
/// | `subject` | `user:<id>`, `service:<name>` | `users/<id>`, `services/<name>` |
/// | `resource` | a resource | as it is |
/// | none: no contract declares the event | anything | last part of the topic: `<part>/<key>` |
///
/// So all that concerns a user stands under `users/<id>`, whichever service tells it.
pub fn resource_name(key_field: Option<&str>, topic: &str, key: &str) -> String {
    match key_field {
        Some("resource") => key.to_owned(),
        Some("subject") => match key.split_once(':') {
            Some((kind, name)) => named(&plural(kind), name),
            None => named("subjects", key),
        },
        Some(field) => named(&plural(field.strip_suffix("_id").unwrap_or(field)), key),
        None => named(topic.rsplit('.').next().unwrap_or(topic), key),
    }
}

/// The service's name in an envelope's source: `/identity-svc` becomes `identity-svc`.
pub fn source_name(source: &str) -> String {
    source.trim_start_matches('/').to_owned()
}

/// The trace id in a W3C traceparent (Trace Context, section 3.2): its second part.
pub fn trace_id_of(traceparent: &str) -> String {
    let trace_id = traceparent.split('-').nth(1).unwrap_or_default();
    let sound = trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if sound { trace_id.to_owned() } else { String::new() }
}

fn named(kind: &str, name: &str) -> String {
    match name.is_empty() {
        true => kind.to_owned(),
        false => format!("{kind}/{name}"),
    }
}

/// `user` becomes `users`, `role_binding` becomes `role-bindings`.
fn plural(kind: &str) -> String {
    format!("{}s", kind.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_follows_from_the_key_that_the_contract_states() {
        let table = [
            (Some("user_id"), "auth.accounts", "0190", "users/0190"),
            (Some("user_id"), "billing.subscriptions", "0190", "users/0190"),
            (Some("role_id"), "authz.roles", "0190", "roles/0190"),
            (Some("service"), "platform.services", "authz-svc", "services/authz-svc"),
            (Some("subject"), "authz.bindings", "user:0190", "users/0190"),
            (Some("subject"), "authz.bindings", "service:x", "services/x"),
            (Some("subject"), "authz.bindings", "odd", "subjects/odd"),
            (Some("resource"), "platform.calls", "users/0190", "users/0190"),
            (Some("line_item_id"), "orders.items", "7", "line-items/7"),
            (None, "orders.parcels", "7", "parcels/7"),
            (None, "parcels", "", "parcels"),
        ];
        for (field, topic, key, expected) in table {
            assert_eq!(resource_name(field, topic, key), expected, "{field:?} {topic} {key}");
        }
    }

    #[test]
    fn names_lose_what_everybody_knows() {
        assert_eq!(action_name("mainstay.identity.v1.UserUpdated"), "identity.v1.UserUpdated");
        assert_eq!(action_name("acme.orders.v1.Placed"), "acme.orders.v1.Placed");
        assert_eq!(source_name("/identity-svc"), "identity-svc");
    }

    #[test]
    fn a_malformed_traceparent_gives_no_trace() {
        let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id_of(&format!("00-{trace_id}-00f067aa0ba902b7-01")), trace_id);
        for bad in ["", "00", "00-xyz-1-1", "nonsense"] {
            assert_eq!(trace_id_of(bad), "", "{bad:?}");
        }
    }
}
