//! Who may call, on what, and what is kept of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mainstay::kernel::call::{Call, User};
use mainstay::kernel::error::{
    Error, INVALID_ARGUMENT, PERMISSION_DENIED, Result, UNAUTHENTICATED, UNAVAILABLE,
};
use mainstay::kernel::policy::{
    Access, Audit, Authorizer, EdgeStyle, EventCatalog, Idempotency, MethodPolicy, PolicyTable,
    TopicSpec, redacted,
};
use prost_reflect::DescriptorPool;
use serde_json::json;

use super::{compile, wire};

fn contract() -> DescriptorPool {
    compile(
        r#"
        service Sample {
            option (mainstay.policy.v1.service) = {
                style: PLAIN rate_class: "default" deadline: { seconds: 7 } max_body_bytes: 100
            };
            rpc Open(Request) returns (Request) {
                option (google.api.http) = { post: "/open" body: "*" };
                option (mainstay.policy.v1.method) = { public: true audit: AUDIT_NONE };
            }
            rpc Mine(Request) returns (Request) {
                option idempotency_level = NO_SIDE_EFFECTS;
                option (mainstay.policy.v1.method) = { authenticated: true };
            }
            rpc Update(Request) returns (Request) {
                option idempotency_level = IDEMPOTENT;
                option (google.api.http) = { put: "/things/{user.id}" body: "*" };
                option (mainstay.policy.v1.method) = {
                    permission: "sample.things.update" resource: "things/{user.id}/{part}"
                    owner: "user.id" feature: "things" rate_class: "write" rate_cost: 3
                    deadline: { nanos: 500000000 } max_body_bytes: 50 audit: AUDIT_REQUEST
                    style: ENVELOPE callers: "other-svc" request_headers: "if-match"
                };
            }
            rpc Everywhere(Request) returns (Request) {
                option idempotency_level = NO_SIDE_EFFECTS;
                option (mainstay.policy.v1.method) = {
                    permission: "sample.things.list" cache: { max_age: { seconds: 9 } }
                };
            }
            rpc Inside(Request) returns (Request) {
                option idempotency_level = NO_SIDE_EFFECTS;
                option (mainstay.policy.v1.method) = { internal: true callers: "other-svc" };
            }
            rpc Family(Request) returns (Request) {
                option idempotency_level = NO_SIDE_EFFECTS;
                option (mainstay.policy.v1.method) = { internal: true callers: "*" };
            }
        }
        message Request {
            User user = 1; string part = 2; map<string, User> friends = 3; repeated User others = 4;
            string password = 5 [(mainstay.policy.v1.field).secret = true]; int64 size = 6;
            google.protobuf.Timestamp time = 7; bytes data = 8;
        }
        message User {
            string id = 1;
            string email = 2 [(mainstay.policy.v1.field).personal = true];
            repeated string names = 3 [(mainstay.policy.v1.field).personal = true];
        }
        message Happened {
            option (mainstay.policy.v1.event) = { topic: "sample.things" key: "user.id" };
            User user = 1;
        }
        "#,
    )
}

fn method(name: &str) -> Arc<MethodPolicy> {
    let table = PolicyTable::compile(&contract()).unwrap();
    table.method(&format!("/mainstay.sample.v1.Sample/{name}")).unwrap().clone()
}

fn call(peer: &str, user: Option<&str>) -> Call {
    let user = user.map(|id| User { id: id.into(), plan: "free".into(), session_id: None });
    Call { request_id: "r".into(), peer: peer.into(), user, deadline: None }
}

fn request(user_id: &str, part: &str) -> Vec<u8> {
    let json = json!({ "user": { "id": user_id }, "part": part });
    wire(&contract(), "mainstay.sample.v1.Request", &json)
}

/// Answers as told and remembers what it was asked.
struct Recorder {
    answer: Option<bool>,
    asked: Mutex<Vec<String>>,
}

fn recorder(answer: Option<bool>) -> Recorder {
    Recorder { answer, asked: Mutex::default() }
}

#[async_trait]
impl Authorizer for Recorder {
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool> {
        self.asked.lock().unwrap().push(format!("{subject} {permission} {resource}"));
        self.answer.ok_or_else(|| Error::new(INVALID_ARGUMENT, "authz is confused"))
    }
}

#[test]
fn defaults_of_the_service_fill_in_what_a_method_leaves_out() {
    let open = method("Open");
    assert_eq!(
        (&open.access, open.audit, open.style),
        (&Access::Public, Audit::None, EdgeStyle::Plain)
    );
    assert_eq!((open.rate_class.as_deref(), open.rate_cost), (Some("default"), 1));
    assert_eq!((open.deadline.as_secs(), open.max_body_bytes), (7, 100));
    assert_eq!((open.idempotency, open.routed), (Idempotency::Unknown, true));
    let update = method("Update");
    assert_eq!(update.full_name, "mainstay.sample.v1.Sample/Update");
    assert_eq!(update.access.permission(), Some("sample.things.update"));
    assert_eq!((update.audit, update.style), (Audit::Request, EdgeStyle::Envelope));
    assert_eq!((update.rate_class.as_deref(), update.rate_cost), (Some("write"), 3));
    assert_eq!((update.deadline.as_millis(), update.max_body_bytes), (500, 50));
    assert_eq!(update.feature.as_deref(), Some("things"));
    assert_eq!(update.request_headers, ["if-match"]);
    assert!(update.idempotency.is_repeatable() && !method("Mine").routed);
    assert!(open.secret_reply, "a request's password comes back");
    let cache = method("Everywhere").cache.map(|rule| (rule.max_age.as_secs(), rule.shared));
    assert_eq!((open.cache, cache), (None, Some((9, false))));
}

#[test]
fn callers_are_denied_unless_named_or_the_gateway_of_a_route() {
    let update = method("Update").callers.clone();
    let cases = [
        ("gateway", true, true),
        ("gateway", false, false),
        ("other-svc", false, true),
        ("mallory-svc", true, false),
        ("anonymous", true, false),
        ("", true, false),
    ];
    for (peer, routed, expected) in cases {
        assert_eq!(update.allow(peer, routed), expected, "{peer} {routed}");
    }
    let family = method("Family").callers.clone();
    assert!(family.names("gateway") && family.names("any-svc") && family.names("whoami"));
    for outsider in ["anonymous", "", "127.0.0.1", "127.0.0.1:80", "::1", "[::1]:80", "A-svc"] {
        assert!(!family.names(outsider), "{outsider} is no member of the mesh");
    }
}

#[tokio::test]
async fn access_is_decided_by_its_kind() {
    let cases = [
        ("Open", call("127.0.0.1", None), None),
        ("Mine", call("gateway", Some("u")), None),
        ("Mine", call("gateway", None), Some(UNAUTHENTICATED)),
        ("Mine", call("other-svc", None), Some(UNAUTHENTICATED)),
        ("Inside", call("other-svc", None), None),
        ("Inside", call("gateway", Some("u")), Some(PERMISSION_DENIED)),
        ("Family", call("third-svc", None), None),
        ("Family", call("10.0.0.1", Some("u")), Some(PERMISSION_DENIED)),
        ("Update", call("gateway", None), Some(UNAUTHENTICATED)),
        ("Update", call("203.0.113.9", None), Some(UNAUTHENTICATED)),
        ("Update", call("anonymous", None), Some(UNAUTHENTICATED)),
    ];
    for (name, call, expected) in cases {
        let outcome = method(name).authorize(&call, &request("x", "y"), None).await;
        match (&outcome, &expected) {
            (Ok(()), None) => {}
            (Err(error), Some(code)) if error.is(code) => {}
            _ => panic!("{name} by {call:?}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn permissions_are_asked_for_subject_and_resource() {
    let update = method("Update");
    let allow = recorder(Some(true));
    let bytes = request("u1", "left");
    update.authorize(&call("gateway", Some("u2")), &bytes, Some(&allow)).await.unwrap();
    update.authorize(&call("other-svc", None), &bytes, Some(&allow)).await.unwrap();
    let everywhere = method("Everywhere");
    everywhere.authorize(&call("gateway", Some("u2")), &bytes, Some(&allow)).await.unwrap();
    assert_eq!(
        *allow.asked.lock().unwrap(),
        [
            "user:u2 sample.things.update things/u1/left",
            "service:other-svc sample.things.update things/u1/left",
            "user:u2 sample.things.list ",
        ]
    );
    assert_eq!(update.resource_of(&bytes), "things/u1/left");
    assert_eq!(everywhere.resource_of(&bytes), "");

    let deny = recorder(Some(false));
    let error =
        update.authorize(&call("gateway", Some("u2")), &bytes, Some(&deny)).await.unwrap_err();
    assert!(error.is(&PERMISSION_DENIED) && error.message().contains("sample.things.update"));
    assert_eq!(error.details()["permission"], "sample.things.update");
}

#[tokio::test]
async fn the_owner_needs_no_permission_and_nobody_else_passes_for_the_owner() {
    let update = method("Update");
    let deny = recorder(Some(false));
    update.authorize(&call("gateway", Some("u1")), &request("u1", ""), Some(&deny)).await.unwrap();
    assert!(deny.asked.lock().unwrap().is_empty());
    // The last of several values counts, as it will for the service.
    let twice = [request("u1", ""), request("u2", "")].concat();
    for (bytes, user) in [(request("", ""), ""), (request("u1", ""), "u"), (twice.clone(), "u1")] {
        let outcome = update.authorize(&call("gateway", Some(user)), &bytes, Some(&deny)).await;
        assert!(outcome.unwrap_err().is(&PERMISSION_DENIED), "{user:?}");
    }
    update.authorize(&call("gateway", Some("u2")), &twice, Some(&deny)).await.unwrap();
    let malformed = [0x0a, 0x7f];
    let outcome = update.authorize(&call("gateway", Some("u1")), &malformed, Some(&deny)).await;
    assert!(outcome.unwrap_err().is(&INVALID_ARGUMENT));
}

#[tokio::test]
async fn an_authorizer_that_cannot_answer_closes_the_door() {
    let error = method("Update")
        .authorize(&call("gateway", Some("u2")), &request("u1", ""), Some(&recorder(None)))
        .await
        .unwrap_err();
    assert!(error.is(&UNAVAILABLE) && !error.message().contains("confused"), "{error}");
    let missing = method("Update").authorize(&call("gateway", Some("u2")), &[], None).await;
    assert!(missing.is_err());
}

#[test]
fn protected_fields_are_redacted_at_any_depth() {
    let pool = contract();
    let user = json!({ "id": "u1", "email": "ada@example.org", "names": ["Ada", "Byron"] });
    let request = json!({
        "user": user, "friends": { "best": user }, "others": [user], "password": "hunter2",
        "size": "5", "time": "2026-11-20T12:00:00Z", "data": "AAEC"
    });
    let bytes = wire(&pool, "mainstay.sample.v1.Request", &request);
    let hidden = json!({ "id": "u1", "email": "[redacted]", "names": "[redacted]" });
    let expected = json!({
        "user": hidden, "friends": { "best": hidden }, "others": [hidden],
        "password": "[redacted]", "size": "5", "time": "2026-11-20T12:00:00Z", "data": "AAEC"
    });
    assert_eq!(method("Open").redacted_json(&bytes), expected);
    assert_eq!(redacted(&pool, "mainstay.sample.v1.Request", &bytes), expected);
    assert_eq!(redacted(&pool, "mainstay.sample.v1.Request", &[0x0a, 0x7f]), "[unreadable]");
    assert_eq!(redacted(&pool, "no.such.Type", &bytes), "[unreadable]");
}

#[test]
fn events_are_catalogued() {
    let catalog = EventCatalog::compile(&contract()).unwrap();
    assert_eq!(catalog.event("mainstay.sample.v1.Request"), None);
    let event = catalog.event("mainstay.sample.v1.Happened").unwrap();
    assert_eq!((event.topic.as_str(), event.key.name()), ("sample.things", "user.id"));
    let bytes = wire(&contract(), "mainstay.sample.v1.Happened", &json!({ "user": { "id": "u" } }));
    assert_eq!(event.key.read(&bytes).unwrap().as_deref(), Some("u"));
    assert_eq!(event.key.read(&[]).unwrap(), None);
    assert!(catalog.topics().contains(&"sample.things".to_owned()));
    assert!(catalog.topics().is_sorted());
    assert_eq!(catalog.topic("sample.things"), Some(&TopicSpec::new("sample.things")));
    let catalog = EventCatalog::compile(mainstay::contract::pool()).unwrap();
    let spec = catalog.specs().find(|topic| topic.name == "platform.services").unwrap();
    assert_eq!((spec.partitions, spec.compacted, spec.retention), (1, true, None));
    let spec = catalog.topic("platform.calls").unwrap();
    assert_eq!(spec.retention, Some(Duration::from_secs(30 * 24 * 60 * 60)));
}
