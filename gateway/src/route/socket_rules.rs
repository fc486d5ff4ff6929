//! What a rule means for a stream of its caller, whose messages are frames of a WebSocket.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::policy::{Access, EdgeStyle, Unstated};
use prost::Message as _;
use prost_reflect::DynamicMessage;
use serde_json::{Value as Json, json};

use super::compile::{Reading, compile};
use super::http_rules::compiled;
use super::join::Offers;
use super::{Form, NoRoute, RouteTable, Target};
use crate::openapi;
use crate::transcode::frame::Fixed;
use crate::transcode::query;
use crate::transcode::read::Unknown;

/// `$` is what the service has.
const SOURCE: &str = r#"
    syntax = "proto3";
    package talks.v1;
    import "google/api/annotations.proto";
    import "google/api/httpbody.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    service Talks { $ }
    message Note {
      string name = 1;
      int32 weight = 2;
      bytes blob = 3;
      Note sub = 4;
      repeated string tags = 5;
      oneof way { string left = 6; string right = 7; }
      optional int32 level = 8;
      google.api.HttpBody raw = 9;
      google.protobuf.Int32Value wrapped = 10;
      google.protobuf.Timestamp time = 11;
    }
"#;

fn table(methods: &str) -> RouteTable {
    let unstated = Unstated {
        access: Access::Public,
        style: EdgeStyle::Plain,
        deadline: Duration::from_secs(1),
        max_body_bytes: 1000,
        request_headers: Vec::new(),
    };
    let reading = Reading::Foreign(unstated, Unknown::Refuse);
    let pool = compiled(SOURCE.replace('$', methods));
    let mut offers = Offers::default();
    offers.put("talks", compile("talks", &pool, &["talks.v1.Talks".to_owned()], &reading));
    offers.table(1, BTreeSet::new())
}

/// The table of one method, whose caller sends a stream of these.
fn talk(message: &str, rule: &str) -> RouteTable {
    table(&format!(
        "rpc Talk(stream {message}) returns (stream Note) {{ option (google.api.http) = {{ {rule} }}; }}"
    ))
}

/// A frame; of a binary one the message as JSON.
#[derive(Debug)]
enum Frame {
    Text(Json),
    Binary(Json),
}

/// The message of a frame, as JSON.
fn message(target: &Target, query: Option<&str>, frame: &Frame) -> Result<Json> {
    let (binding, parameters) = (&target.route.binding, query::parse(query)?);
    let fixed = Fixed::read(binding, &target.captures, &parameters)?;
    let wire = match frame {
        Frame::Text(json) => fixed.message(binding, &parameters, json.to_string().as_bytes())?,
        Frame::Binary(json) => {
            let message = DynamicMessage::deserialize(binding.input.clone(), json).unwrap();
            fixed.appended(Bytes::from(message.encode_to_vec()))
        }
    };
    let message = DynamicMessage::decode(binding.input.clone(), wire).unwrap();
    Ok(serde_json::to_value(message).unwrap())
}

fn fields(error: &Error) -> Json {
    error.violations().iter().map(|found| found.field.as_str()).collect()
}

#[test]
fn each_frame_gives_what_path_and_query_leave_of_its_message() {
    use Frame::{Binary, Text};
    let raw = json!({ "contentType": "text/plain", "data": "YQ==" });
    let (body, note) = ("google.api.HttpBody", "Note");
    let rows = [
        // Bytes with their type are a message like others.
        (body, r#"get: "/a" body: "*""#, "/a", Binary(raw.clone()), Ok(raw.clone())),
        (body, r#"get: "/a" body: "*""#, "/a", Text(raw.clone()), Ok(raw.clone())),
        (note, r#"post: "/a" body: "raw""#, "/a", Text(raw.clone()), Ok(json!({ "raw": raw }))),
        (
            note,
            r#"post: "/a" body: "raw""#,
            "/a",
            Binary(json!({ "name": "x" })),
            Ok(json!({ "name": "x" })),
        ),
        // A binary frame is the whole message, whatever a text frame fills.
        (
            note,
            r#"post: "/a/{name}" body: "blob""#,
            "/a/n",
            Text(json!("YQ==")),
            Ok(json!({ "name": "n", "blob": "YQ==" })),
        ),
        (
            note,
            r#"post: "/a/{name}" body: "blob""#,
            "/a/n",
            Binary(json!({ "blob": "YQ==" })),
            Ok(json!({ "name": "n", "blob": "YQ==" })),
        ),
        (
            note,
            r#"post: "/a" body: "sub""#,
            "/a",
            Binary(json!({ "name": "x" })),
            Ok(json!({ "name": "x" })),
        ),
        // What the path gives cannot be given again, be it a default.
        (
            note,
            r#"get: "/a/{weight}""#,
            "/a/0",
            Binary(json!({ "weight": 9, "name": "x" })),
            Ok(json!({ "name": "x" })),
        ),
        (
            note,
            r#"get: "/a/{sub.weight}""#,
            "/a/0",
            Binary(json!({ "sub": { "weight": 9, "name": "x" } })),
            Ok(json!({ "sub": { "name": "x" } })),
        ),
        (
            note,
            r#"get: "/a/{level}""#,
            "/a/0",
            Binary(json!({ "level": 9 })),
            Ok(json!({ "level": 0 })),
        ),
        (
            note,
            r#"get: "/a/{left}""#,
            "/a/l",
            Binary(json!({ "right": "r" })),
            Ok(json!({ "left": "l" })),
        ),
        (
            note,
            r#"get: "/a/{weight}""#,
            "/a/0",
            Text(json!({ "weight": 9 })),
            Err(json!(["weight"])),
        ),
        // Nor what the query gives, which a rule without a body has.
        (
            note,
            r#"get: "/a/{weight}""#,
            "/a/7?name=q",
            Text(json!({ "tags": ["x"] })),
            Ok(json!({ "weight": 7, "name": "q", "tags": ["x"] })),
        ),
        (
            note,
            r#"get: "/a""#,
            "/a?name=q&tags=y",
            Text(json!({ "name": "x", "tags": ["x"] })),
            Err(json!(["name", "tags"])),
        ),
        (
            note,
            r#"get: "/a""#,
            "/a?sub.name=q",
            Text(json!({ "sub": { "name": "x" } })),
            Err(json!(["sub.name"])),
        ),
        (note, r#"get: "/a""#, "/a?right=r", Text(json!({ "left": "l" })), Err(json!(["left"]))),
        (
            note,
            r#"get: "/a""#,
            "/a?name=q",
            Binary(json!({ "name": "x", "weight": 1 })),
            Ok(json!({ "name": "q", "weight": 1 })),
        ),
        (
            note,
            r#"get: "/a""#,
            "/a?wrapped=0",
            Binary(json!({ "wrapped": 9 })),
            Ok(json!({ "wrapped": 0 })),
        ),
        (
            note,
            r#"get: "/a""#,
            "/a?time=1970-01-01T00:00:07Z",
            Binary(json!({ "time": "1970-01-01T00:00:09.5Z" })),
            Ok(json!({ "time": "1970-01-01T00:00:07Z" })),
        ),
        (note, r#"get: "/a" body: "*""#, "/a?name=q", Text(json!({})), Err(json!(["name"]))),
        (note, r#"post: "/a" body: "left""#, "/a?right=r", Text(json!("l")), Err(json!(["right"]))),
        // What does not fit needs no frame to be refused.
        (
            note,
            r#"get: "/a/{weight}""#,
            "/a/x?colour=1",
            Text(json!({})),
            Err(json!(["colour", "weight"])),
        ),
    ];
    for (input, rule, uri, frame, wanted) in rows {
        let table = talk(input, rule);
        assert_eq!(table.refusals, [], "{rule}");
        let (path, query) =
            uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        let target = table.socket(path).unwrap();
        let found = message(&target, query, &frame).map_err(|error| fields(&error));
        assert_eq!(found, wanted, "{rule} {uri} {frame:?}");
    }
}

#[test]
fn a_websocket_is_in_nobodys_way_but_another_ones() {
    let list = r#"rpc List(Note) returns (Note) { option (google.api.http) = { get: "/a" }; }"#;
    let stream = |name: &str, rule: &str| {
        format!(
            "rpc {name}(stream Note) returns (Note) {{ option (google.api.http) = {{ {rule} }}; }}"
        )
    };
    let (first, rule) = (stream("First", r#"post: "/a" body: "*""#), r#"get: "/b""#);
    let found = table(&[list.to_owned(), first.clone(), stream("Alone", rule)].concat());
    assert_eq!(found.refusals, []);
    let name = |target: Target| target.route.rpc.descriptor.name().to_owned();
    let methods = |names: [&str; 3]| BTreeSet::from(names.map(str::to_owned));
    let of_get = methods(["GET", "HEAD", "OPTIONS"]);
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(name(found.find(&method, "/a").unwrap()), "List");
        let told = found.find(&method, "/b").unwrap();
        assert_eq!(told.route.form, Form::Socket, "it says what it takes");
    }
    assert_eq!(name(found.socket("/a").unwrap()), "First");
    assert_eq!(name(found.socket("/b").unwrap()), "Alone");
    for path in ["/a", "/b"] {
        let refused = found.find(&Method::POST, path).unwrap_err();
        assert_eq!(refused, NoRoute::Method(of_get.clone()), "{path}");
        assert_eq!(found.methods(path), Some(of_get.clone()), "{path}");
    }
    let document = openapi::document(&found);
    for (path, shown) in [("/a", "Talks_List"), ("/b", "Talks_Alone")] {
        assert_eq!(document["paths"][path]["get"]["operationId"], shown);
    }
    assert!(found.socket("/c").is_none() && found.methods("/c").is_none());

    let second = stream("Second", r#"get: "/a""#);
    let [refusal] = &table(&[first, second].concat()).refusals[..] else {
        panic!("one is refused")
    };
    assert!(refusal.reason.starts_with("the WebSocket at /a is taken by"), "{}", refusal.reason);
}

#[test]
fn an_upload_is_its_body_with_or_without_a_word_of_it() {
    for rule in [r#"post: "/a""#, r#"post: "/a" body: "*""#] {
        let table = table(&format!(
            "rpc Up(stream google.api.HttpBody) returns (Note) {{ option (google.api.http) = {{ {rule} }}; }}"
        ));
        let target = table.find(&Method::POST, "/a").unwrap();
        assert_eq!(target.route.form, Form::Upload, "{rule}");
    }
}
