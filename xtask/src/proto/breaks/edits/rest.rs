//! Edits of services, routes and events.

use super::{breaks, compatible, edit};

const ADD_INSTEAD: &str = "leave it, marked deprecated, and add a new method instead";

/// A service with one method, which has these options.
fn service(method: &str) -> &'static str {
    format!("message A {{ string id = 1; }} message B {{}} service S {{ {method} }}").leak()
}

fn routed(rule: &str) -> &'static str {
    service(&format!("rpc Do(A) returns (B) {{ option (google.api.http) = {{ {rule} }}; }}"))
}

fn event(policy: &str) -> &'static str {
    let option = format!("option (mainstay.policy.v1.event) = {{ {policy} }};");
    format!("message M {{ {option} string id = 1; string other_id = 2; }}").leak()
}

#[test]
fn a_method_keeps_its_form() {
    let plain = service("rpc Do(A) returns (B);");
    for (is, what) in [
        (
            "rpc Do(B) returns (B);",
            "its request changed from mainstay.shop.v1.A to mainstay.shop.v1.B",
        ),
        (
            "rpc Do(A) returns (A);",
            "its reply changed from mainstay.shop.v1.B to mainstay.shop.v1.A",
        ),
        ("rpc Do(stream A) returns (B);", "its request changed from one message to a stream"),
        ("rpc Do(A) returns (stream B);", "its reply changed from one message to a stream"),
    ] {
        breaks(&[(edit(plain, service(is)), &format!("S.Do: {what}: {ADD_INSTEAD}"))]);
    }
    breaks(&[(
        edit(plain, service("")),
        "S.Do: the method was removed: \
         restore it, marked deprecated; a new version of the package may leave it out",
    )]);
    compatible(&[edit(plain, service("rpc Do(A) returns (B); rpc Other(A) returns (B);"))]);
}

#[test]
fn a_method_keeps_its_routes() {
    let removed = "restore it; a new one may stand in additional_bindings";
    breaks(&[
        (
            edit(routed("get: \"/v1/a\""), routed("get: \"/v1/b\"")),
            &format!("S.Do: the route GET /v1/a was removed: {removed}"),
        ),
        (
            edit(routed("put: \"/v1/a\""), routed("patch: \"/v1/a\"")),
            &format!("S.Do: the route PUT /v1/a was removed: {removed}"),
        ),
        (
            edit(routed("get: \"/v1/a\""), service("rpc Do(A) returns (B);")),
            &format!("S.Do: the route GET /v1/a was removed: {removed}"),
        ),
        (
            edit(
                routed("get: \"/v1/a\" additional_bindings { get: \"/v1/b\" }"),
                routed("get: \"/v1/a\""),
            ),
            &format!("S.Do: the route GET /v1/b was removed: {removed}"),
        ),
        (
            edit(routed("custom { kind: \"HEAD\" path: \"/v1/a\" }"), routed("get: \"/v1/a\"")),
            &format!("S.Do: the route HEAD /v1/a was removed: {removed}"),
        ),
        (
            edit(routed("post: \"/v1/a\" body: \"*\""), routed("post: \"/v1/a\" body: \"id\"")),
            "S.Do: the body of the route POST /v1/a changed: \
             restore body and response_body, and add a new route instead",
        ),
    ]);
    compatible(&[
        edit(service("rpc Do(A) returns (B);"), routed("get: \"/v1/a\"")),
        edit(
            routed("get: \"/v1/a\""),
            routed("get: \"/v1/b\" additional_bindings { get: \"/v1/a\" }"),
        ),
    ]);
}

#[test]
fn an_event_keeps_topic_and_key() {
    let was = event("topic: \"shop.orders\" key: \"id\"");
    breaks(&[
        (
            edit(was, event("topic: \"shop.carts\" key: \"id\"")),
            "M: its topic changed from `shop.orders` to `shop.carts`: \
             restore it, and add a new event for the new topic",
        ),
        (
            edit(was, event("topic: \"shop.orders\" key: \"other_id\"")),
            "M: its key changed from `id` to `other_id`: \
             restore it, and add a new event with the new key",
        ),
        (
            edit(was, "message M { string id = 1; string other_id = 2; }"),
            "M: is no event any more: restore its event option",
        ),
    ]);
    compatible(&[edit("message M { string id = 1; string other_id = 2; }", was)]);
}
