//! The OpenAPI 3.1 document of what is routed right now.
//!
//! Everything in it comes from descriptors: paths and parameters from `google.api.http`, security
//! and limits from the policy, schemas from messages and their validation rules, descriptions from
//! the contracts' comments.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

mod comment;
mod component;
mod operation;
mod rules;
mod schema;
mod stream;

use comment::Comments;
use schema::Schemas;

use crate::route::{Form, RouteTable};

/// The methods that a path can have in the document.
const METHODS: [&str; 6] = ["delete", "get", "head", "patch", "post", "put"];

/// The document of a table.
pub(crate) fn document(table: &RouteTable) -> Json {
    let mut comments = Comments::default();
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    let mut operation_ids = BTreeSet::new();
    for route in &table.routes {
        let service = route.rpc.descriptor.parent_service();
        let tag = service.name().to_owned();
        tags.entry(tag).or_insert_with(|| comments.of_service(service));
        let mut operation = operation::operation(route, &mut schemas, &mut comments);
        make_unique(&mut operation, &mut operation_ids);
        let path = paths.entry(route.template.openapi_path()).or_default();
        let method = route.method.as_str().to_ascii_lowercase();
        // OpenAPI 3.1 has no place for other methods, nor for a WebSocket beside a GET.
        let is_second = route.form == Form::Socket && path.contains_key(&method);
        if METHODS.contains(&method.as_str()) && !is_second {
            path.insert(method, operation);
        }
    }
    let tags: Vec<Json> = tags
        .into_iter()
        .map(|(name, description)| json!({ "name": name, "description": description }))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mainstay",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every method that the services of this platform offer over REST.",
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": component::components(schemas.finish(&mut comments)),
    })
}

/// A method with several routes is several operations, whose ids must differ.
fn make_unique(operation: &mut Json, taken: &mut BTreeSet<String>) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let mut candidate = id.clone();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{id}_{number}");
        number += 1;
    }
    operation["operationId"] = candidate.into();
}
