//! What the comments of `google/api/http.proto` say, sentence by sentence: `tests/cases/http.txt` has
//! a rule, a request and what becomes of it for each.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use bytes::Bytes;
use mainstay::kernel::policy::PolicyTable;
use prost_reflect::{DescriptorPool, DynamicMessage};
use protox::file::{
    ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};
use serde_json::{Value as Json, json};

use super::compile::{Reading, compile, compile_with};
use super::{NoRoute, RouteTable};
use crate::transcode::query;
use crate::transcode::render::Rendered;
use crate::transcode::request::Parts;

const CASES: &str = include_str!("../../tests/cases/http.txt");

/// The messages that the rules are about; `$` is the rule.
const SOURCE: &str = r#"
    syntax = "proto3";
    package http.v1;
    import "google/api/annotations.proto";
    import "google/api/httpbody.proto";
    import "google/protobuf/duration.proto";
    import "google/protobuf/field_mask.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    import "mainstay/policy/v1/policy.proto";
    service Messaging {
      option (mainstay.policy.v1.service) = { style: PLAIN rate_class: "default" deadline: { seconds: 5 } };
      rpc Call(Request) returns (Reply) {
        option (google.api.http) = { $ };
        option (mainstay.policy.v1.method) = { public: true rate_class: "write" audit: AUDIT_NONE };
      }
    }
    enum State { NONE = 0; LENT = 1; }
    message Sub { string subfield = 1; int32 number = 2; Sub deeper = 3; oneof way { string left = 4; string right = 5; } }
    message Request {
      string name = 1;
      string message_id = 2;
      int64 revision = 3;
      Sub sub = 4;
      repeated string tags = 5;
      repeated Sub subs = 6;
      map<string, string> labels = 7;
      State state = 8;
      repeated State states = 9;
      bytes blob = 10;
      google.protobuf.Timestamp time = 11;
      google.protobuf.Int32Value wrapped = 12;
      google.protobuf.FieldMask mask = 13;
      bool flag = 14;
      double ratio = 15;
      oneof choice { string one = 16; string other = 17; }
      google.api.HttpBody raw = 18;
      google.protobuf.Duration span = 19;
      repeated google.protobuf.Timestamp times = 20;
      google.protobuf.BoolValue wrapped_flag = 21;
      google.protobuf.StringValue wrapped_text = 22;
      google.protobuf.BytesValue wrapped_blob = 23;
      google.protobuf.DoubleValue wrapped_ratio = 24;
      google.protobuf.UInt64Value wrapped_large = 25;
    }
    message Reply { string text = 1; Sub sub = 2; repeated string items = 3; }
"#;

/// A rule that fits the policy.
const SOUND: &str = r#"post: "/v1/any" body: "*""#;

struct Source(String);

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "http.proto" => File::from_source(name, &self.0),
            name => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn pool(rule: &str) -> DescriptorPool {
    compiled(SOURCE.replace('$', rule))
}

/// The descriptors of a contract.
pub(super) fn compiled(source: String) -> DescriptorPool {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Source(source));
    resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("http.proto").unwrap();
    DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap()
}

/// The routes of a rule. The policy is that of another one: a contract of ours may say less than the
/// rules allow, and that is not what is tried here.
fn table(rule: &str) -> RouteTable {
    static POLICIES: LazyLock<PolicyTable> =
        LazyLock::new(|| PolicyTable::compile(&pool(SOUND)).unwrap());
    let services = ["http.v1.Messaging".to_owned()];
    let compiled = compile_with("messaging", &pool(rule), &services, &Reading::House, &POLICIES);
    RouteTable::new(1, compiled.routes, HashMap::new(), compiled.refusals, BTreeSet::new())
}

#[test]
fn a_method_with_a_policy_of_a_kind_to_come_keeps_no_other_from_its_route() {
    let newer = r#"service Messaging {
      rpc New(Request) returns (Reply) {
        option (google.api.http) = { post: "/v1/new" body: "*" };
        option (mainstay.policy.v1.method) = { rate_class: "write" };
      }"#;
    let source = SOURCE.replace('$', SOUND);
    let pool = compiled(source.replace("service Messaging {", newer));
    let found = compile("messaging", &pool, &["http.v1.Messaging".to_owned()], &Reading::House);
    let routed: Vec<_> = found.routes.iter().map(|route| route.rpc.descriptor.name()).collect();
    assert_eq!(routed, ["Call"]);
    assert_eq!(found.rpcs.len(), 1, "nor is the new one called by gRPC");
    let [refusal] = &found.refusals[..] else { panic!("{:?}", found.refusals) };
    assert_eq!(refusal.method, "http.v1.Messaging.New");
    assert!(refusal.reason.contains("states no access"), "{}", refusal.reason);
}

#[test]
fn every_sentence_of_the_rules_holds() {
    let rows = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let wrong: Vec<String> = rows.filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a row, if anything is.
fn wrong(row: &'static str) -> Option<String> {
    let parts: Vec<&str> = row.split(" | ").collect();
    let [_, rule, request, body, wanted] = parts[..] else { panic!("{row} is no row") };
    let table = table(rule);
    let (method, uri) = request.split_once(' ').unwrap();
    if let Some(reason) = wanted.strip_prefix("no route: ") {
        let refused = table.refusals.iter().any(|found| found.reason.contains(reason));
        return (!refused).then(|| format!("{row}: {:?}", table.refusals));
    }
    assert_eq!(table.refusals, [], "{row}");
    let found = outcome(&table, method, uri, body.trim());
    let same = match serde_json::from_str::<Json>(wanted) {
        Ok(wanted) => serde_json::from_str(&found).ok() == Some(wanted),
        Err(_) => found == wanted,
    };
    (!same).then(|| format!("{row}: {found}"))
}

/// What becomes of a request: the message, the fields that are refused, or that there is no route.
fn outcome(table: &RouteTable, method: &str, uri: &str, body: &'static str) -> String {
    let (path, query) =
        uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let target = match table.find(&method.parse().unwrap(), path) {
        Ok(target) => target,
        Err(NoRoute::Path) => return "no path".to_owned(),
        Err(NoRoute::Method(methods)) => return Vec::from_iter(methods).join(" "),
    };
    let parts = Parts {
        captures: &target.captures,
        parameters: &query::parse(query).unwrap(),
        content_type: Some("application/json"),
        page_token: None,
        body: Bytes::from_static(body.as_bytes()),
        is_file: false,
    };
    let binding = &target.route.binding;
    match binding.request(parts) {
        Ok(wire) => {
            let message = DynamicMessage::decode(binding.input.clone(), wire).unwrap();
            serde_json::to_value(&message).unwrap().to_string()
        }
        Err(error) => {
            let fields = error.violations().iter().map(|found| found.field.as_str());
            format!("refused: {}", Vec::from_iter(fields).join(" "))
        }
    }
}

#[test]
fn a_query_nests_as_deep_as_a_body() {
    let table = table(r#"get: "/v1/a""#);
    let deep = |levels: usize| format!("sub{}.number", ".deeper".repeat(levels - 2));
    let found = outcome(&table, "GET", &format!("/v1/a?{}=7", deep(100)), "");
    assert!(found.ends_with(&format!("{{\"number\":7{}", "}".repeat(100))), "{found}");
    let found = outcome(&table, "GET", &format!("/v1/a?{}=7", deep(101)), "");
    assert_eq!(found, format!("refused: {}", deep(101)));
}

#[test]
fn a_request_that_is_an_http_body_is_the_body() {
    let source = SOURCE.replace('$', SOUND).replace("Call(Request)", "Call(google.api.HttpBody)");
    let services = ["http.v1.Messaging".to_owned()];
    let found = compile("messaging", &compiled(source), &services, &Reading::House);
    let table = RouteTable::new(1, found.routes, HashMap::new(), found.refusals, BTreeSet::new());
    let found = outcome(&table, "POST", "/v1/any", "abc");
    assert_eq!(found, r#"{"contentType":"application/json","data":"YWJj"}"#);
}

#[test]
fn a_field_of_the_response_may_be_the_reply() {
    let wire = {
        let table = table(r#"get: "/v1/a""#);
        let reply = json!({"text": "t", "sub": {"number": 1}, "items": ["a"]});
        let output = table.routes[0].binding.output.clone();
        Bytes::from(prost::Message::encode_to_vec(
            &DynamicMessage::deserialize(output, reply).unwrap(),
        ))
    };
    let rows = [
        (
            "left out, the response is all of the reply",
            "",
            json!({"text": "t", "sub": {"number": 1}, "items": ["a"]}),
        ),
        ("a message of the response", "sub", json!({"number": 1})),
        ("a repeated field: an array", "items", json!(["a"])),
        ("a scalar", "text", json!("t")),
    ];
    for (sentence, field, wanted) in rows {
        // Another binding says for itself what of the response is its reply.
        let other = r#"additional_bindings { get: "/v1/b" response_body: "items" }"#;
        let table = table(&format!(r#"get: "/v1/a" response_body: "{field}" {other}"#));
        for (path, wanted) in [("/v1/a", wanted), ("/v1/b", json!(["a"]))] {
            let Ok(target) = table.find(&http::Method::GET, path) else { panic!("no {path}") };
            let Ok(Rendered::Json { body, .. }) = target.route.reply.plain(&wire) else {
                panic!("{sentence}: no JSON");
            };
            assert_eq!(serde_json::from_slice::<Json>(&body).unwrap(), wanted, "{sentence}");
        }
    }
}
