//! What outside bytes reach first, each as one function of bytes: the targets of `gateway/fuzz`, which
//! a test runs over their corpora too, and the route tree for the benchmark. No part of the
//! gateway's interface.
//!
//! A function panics where something holds no longer that must hold for any bytes.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a target fails by panicking

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderValue, Method};
use mainstay::contract;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use crate::cursor::{CursorSigner, Listing};
use crate::edge::{client_ip, exchange};
use crate::route::RouteTable;
use crate::route::compile::{Reading, compile};
use crate::route::template::Template;
use crate::route::tree::{Found, Tree};
use crate::transcode::plan::{JsonPlan, Spelling};
use crate::transcode::query as parameters;
use crate::transcode::read::Unknown;
use crate::transcode::request::{Parts, RequestPlan};

/// A line that is a path template, and one that is a path.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (template, path) = text.split_once('\n').unwrap_or((text, text));
    let Ok(template) = Template::parse(template) else { return };
    let shown = Template::parse(&template.openapi_path()).unwrap();
    if template.variables().is_empty() {
        assert_eq!(shown.shape(), template.shape(), "{} is shown as another", template.text());
    }
    let mut tree = Tree::default();
    tree.insert(&template.shape(), Method::GET, Arc::new(()));
    let path = path.strip_prefix('/').unwrap_or(path);
    if let Found::Value(_) = tree.find(path, &Method::GET) {
        assert_eq!(template.captures(path).len(), template.variables().len());
    }
}

/// A query, for a list that takes several parameters.
pub fn query(data: &[u8]) {
    static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
        let services = ["mainstay.audit.v1.AuditService".to_owned()];
        let compiled = compile("audit-svc", contract::pool(), &services, &Reading::House);
        RouteTable::new(1, compiled.routes, HashMap::new(), Vec::new(), BTreeSet::new())
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    let target = TABLE.find(&Method::GET, "/api/v1/audit/events").unwrap();
    let Ok(mut parsed) = parameters::parse(Some(text)) else { return };
    let Ok(cursor) = parameters::take_cursor(&mut parsed) else { return };
    let parts = Parts {
        captures: &target.captures,
        parameters: &parsed,
        content_type: None,
        page_token: cursor.as_deref(),
        body: bytes::Bytes::new(),
        is_file: false,
    };
    let binding = &target.route.binding;
    if let Ok(wire) = binding.request(parts) {
        assert!(DynamicMessage::decode(binding.input.clone(), wire).is_ok(), "{text}");
    }
}

/// A JSON text, for messages of every kind. What is read is a message, and writes itself as JSON
/// that is read the same.
pub fn json(data: &[u8]) {
    static PLANS: LazyLock<Vec<Messages>> = LazyLock::new(|| {
        let names = [
            "mainstay.audit.v1.ListEventsResponse",
            "google.protobuf.DescriptorProto",
            "google.protobuf.Struct",
            "mainstay.policy.v1.MethodPolicy",
        ];
        names.into_iter().filter_map(Messages::of).collect()
    });
    for messages in PLANS.iter() {
        messages.there_and_back(data);
    }
}

/// One message type with its plans.
struct Messages {
    descriptor: MessageDescriptor,
    table: Arc<JsonPlan>,
    place: usize,
    plans: [RequestPlan; 2],
}

impl Messages {
    fn of(name: &str) -> Option<Self> {
        let descriptor = contract::pool().get_message_by_name(name)?;
        let table = Arc::new(JsonPlan::compile([descriptor.clone()], Spelling::Contract));
        let plan = |unknown| RequestPlan::new(Arc::clone(&table), name, unknown).ok();
        let plans = [plan(Unknown::Refuse)?, plan(Unknown::Ignore)?];
        Some(Self { place: table.find(name)?, descriptor, table, plans })
    }

    fn there_and_back(&self, data: &[u8]) {
        for plan in &self.plans {
            let Ok(wire) = plan.message(data) else { continue };
            assert!(DynamicMessage::decode(self.descriptor.clone(), &*wire).is_ok());
            let mut text = Vec::new();
            // Not all that is read has JSON: a field mask may hold what does not come back.
            if self.table.write(self.place, &wire, &mut text).is_ok() {
                let again = plan.message(&text).unwrap();
                let mut twice = Vec::new();
                self.table.write(self.place, &again, &mut twice).unwrap();
                assert_eq!(text, twice);
            }
        }
    }
}

/// Bytes in base64, for a message that has a field of bytes.
pub fn base64(data: &[u8]) {
    static BYTES: LazyLock<Messages> =
        LazyLock::new(|| Messages::of("google.protobuf.UninterpretedOption").unwrap());
    let Ok(text) = std::str::from_utf8(data) else { return };
    let quoted = serde_json::Value::from(text).to_string();
    BYTES.there_and_back(format!(r#"{{"string_value": {quoted}}}"#).as_bytes());
}

/// A cursor, which nobody can make who has not the key.
pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let signer = CursorSigner::new(b"a key that no corpus was made with");
    let list =
        Listing { method: "/a/List", caller: "u1", path: Vec::new(), parameters: Vec::new() };
    assert!(signer.verify(&list, text).is_err(), "{text} was never issued");
    let issued = signer.sign(&list, text);
    assert_eq!(signer.verify(&list, &issued).unwrap(), text);
}

/// The values of `X-Forwarded-For` and `Authorization`, by lines.
pub fn header(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", value.clone());
            headers.append(http::header::AUTHORIZATION, value);
        }
    }
    for hops in 0..4 {
        let found = client_ip::forwarded(&headers, hops);
        assert!(hops > 0 || found.is_none(), "no proxy of ours, and one is believed");
    }
    if let Ok(token) = exchange::bearer(&headers) {
        assert!(!token.is_empty() && token.trim() == token);
    }
}

/// Paths with nothing behind them, as a route table has them.
#[derive(Debug, Default)]
pub struct Paths(Tree<Template>);

impl Paths {
    /// Adds a template for GET.
    pub fn add(&mut self, template: &str) {
        let template = Template::parse(template).unwrap();
        self.0.insert(&template.shape(), Method::GET, Arc::new(template));
    }

    /// How many variables the template has that a path matches; `None` if none does.
    pub fn find(&self, path: &str) -> Option<usize> {
        let path = path.strip_prefix('/')?;
        match self.0.find(path, &Method::GET) {
            Found::Value(template) => Some(template.captures(path).len()),
            _ => None,
        }
    }
}
