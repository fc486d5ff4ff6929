//! One operation: a route as OpenAPI describes it.

use http::HeaderName;
use mainstay::kernel::policy::{Access, EdgeStyle};
use prost_reflect::Kind;
use serde_json::{Map, Value as Json, json};

use super::comment::Comments;
use super::rules;
use super::schema::Schemas;
use super::stream;
use crate::edge::caching::is_validated;
use crate::edge::idempotency::takes_key;
use crate::route::{Form, Route};
use crate::transcode::binding::Body;
use crate::transcode::plan::Spelling;
use crate::transcode::query::{self, CURSOR};

/// The operation of a route.
pub(super) fn operation(route: &Route, schemas: &mut Schemas, comments: &mut Comments) -> Json {
    let mut description = comments.of_method(&route.rpc.descriptor);
    let summary = first_sentence(&description);
    description.push_str(stream::note(route.form));
    let service = route.rpc.descriptor.parent_service();
    let mut operation = json!({
        "operationId": format!("{}_{}", service.name(), route.rpc.descriptor.name()),
        "summary": summary,
        "description": description,
        "tags": [service.name()],
        "security": security(route),
        "responses": responses(route, schemas, comments),
        "x-rpc": route.rpc.policy.full_name,
    });
    let parameters = parameters(route, schemas, comments);
    if !parameters.is_empty() {
        operation["parameters"] = Json::Array(parameters);
    }
    if let Some(body) = request_body(route, schemas, comments) {
        operation["requestBody"] = body;
    }
    if let Some(permission) = route.rpc.policy.access.permission() {
        operation["x-permission"] = json!(permission);
    }
    if let Some(feature) = &route.rpc.policy.feature {
        operation["x-feature"] = json!(feature);
    }
    if let Some(class) = &route.rpc.policy.rate_class {
        operation["x-rate-class"] = json!(class);
    }
    operation
}

fn security(route: &Route) -> Json {
    match route.rpc.policy.access {
        Access::Public | Access::Webhook => json!([]),
        _ => json!([{ "bearer": [] }, { "api_key": [] }]),
    }
}

fn parameters(route: &Route, schemas: &mut Schemas, comments: &mut Comments) -> Vec<Json> {
    let mut parameters = Vec::new();
    for variable in route.template.variables() {
        let field = query::fields_at(&route.binding.input, variable.field.iter());
        let Some(field) = field.and_then(|path| path.last().cloned()) else { continue };
        let schema = schemas.field(&field, Spelling::Contract, comments);
        parameters.push(parameter("path", &variable.field.join("."), true, schema));
    }
    for (name, field) in query::available(&route.binding) {
        let required = rules::is_required(&field);
        let schema = schemas.field(&field, Spelling::Contract, comments);
        parameters.push(parameter("query", &name, required, schema));
    }
    if route.binding.list.is_some() {
        let schema = json!({
            "type": "string",
            "description": "`meta.next_cursor` of the page before; absent for the first.",
        });
        parameters.push(parameter("query", CURSOR, false, schema));
    }
    if takes_key(&route.rpc.policy) {
        let schema = json!({
            "type": "string",
            "maxLength": 255,
            "description": "Sent again with the same request, it has the reply of the first and no \
                            second effect, for a day.",
        });
        parameters.push(parameter("header", "Idempotency-Key", false, schema));
    }
    if is_validated(route) {
        let schema = json!({
            "type": "string",
            "description": "Validators of replies that the caller has: 304 if one is still right.",
        });
        parameters.push(parameter("header", "If-None-Match", false, schema));
    }
    if route.form == Form::Stream && route.rpc.policy.resumption.is_some() {
        let schema = json!({
            "type": "string",
            "description": "The `id` of the last event that the caller has: the stream goes on after it.",
        });
        parameters.push(parameter("header", "Last-Event-ID", false, schema));
    }
    for header in &route.rpc.policy.request_headers {
        let schema = json!({ "type": "string" });
        parameters.push(parameter("header", header.as_str(), false, schema));
    }
    parameters.extend(of_every_request());
    parameters
}

/// What every request may say.
fn of_every_request() -> [Json; 2] {
    let timeout = json!({
        "type": "string",
        "pattern": "^[1-9][0-9]{0,3}(\\.[0-9]{1,3})?s?$",
        "description": "How long the caller waits, in seconds, such as `2` or `1.5s`: 504 after it. No longer \
                        than the contract allows.",
    });
    let request_id = json!({
        "type": "string",
        "description": "The id that the request is to have in replies, logs and traces.",
    });
    [
        parameter("header", "X-Request-Timeout", false, timeout),
        parameter("header", "X-Request-Id", false, request_id),
    ]
}

fn parameter(place: &str, name: &str, required: bool, mut schema: Json) -> Json {
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    let mut parameter =
        json!({ "name": name, "in": place, "required": required, "schema": schema });
    if let Some(description) = description {
        parameter["description"] = description;
    }
    parameter
}

fn request_body(route: &Route, schemas: &mut Schemas, comments: &mut Comments) -> Option<Json> {
    let schema = match &route.binding.body {
        Body::Nothing => return None,
        _ if route.form == Form::Socket => return None,
        Body::Raw | Body::RawField(_) => {
            let mut content = json!({ "*/*": { "schema": {} } });
            if matches!(route.form, Form::Unary | Form::Upload) {
                content["multipart/form-data"] = stream::form();
            }
            return Some(json!({ "required": true, "content": content }));
        }
        Body::Message => {
            schemas.request(&route.binding.input, &route.binding.path_fields, comments)
        }
        Body::Field(field) => match field.kind() {
            Kind::Message(message) if !field.is_list() && !field.is_map() => {
                schemas.message(&message, Spelling::Contract)
            }
            _ => schemas.field(field, Spelling::Contract, comments),
        },
    };
    let mut content = json!({ "application/json": { "schema": schema } });
    if matches!(&route.binding.body, Body::Field(field) if field.kind() == Kind::Bytes) {
        content["multipart/form-data"] = stream::form();
    }
    Some(json!({ "required": true, "content": content }))
}

fn responses(route: &Route, schemas: &mut Schemas, comments: &mut Comments) -> Json {
    let mut responses = Map::new();
    match route.form {
        Form::Socket => responses.insert("101".into(), stream::switching()),
        _ => responses.insert("200".into(), success(route, schemas, comments)),
    };
    if is_validated(route) {
        let reference = json!({ "$ref": "#/components/responses/NotModified" });
        responses.insert("304".into(), reference);
    }
    let has_user = !matches!(route.rpc.policy.access, Access::Public | Access::Webhook);
    let is_socket = route.form == Form::Socket;
    let has_body = !is_socket && !matches!(route.binding.body, Body::Nothing);
    let is_restricted =
        route.rpc.policy.access.permission().is_some() || route.rpc.policy.feature.is_some();
    let rows = [
        ("400", true),
        ("401", has_user),
        ("403", is_restricted || is_socket),
        ("404", !route.binding.path_fields.is_empty()),
        ("409", takes_key(&route.rpc.policy)),
        ("413", has_body),
        ("415", has_body),
        ("422", takes_key(&route.rpc.policy)),
        ("429", true),
        ("503", true),
        ("504", true),
        ("default", true),
    ];
    for (status, _) in rows.iter().filter(|(_, applies)| *applies) {
        let reference = format!("#/components/responses/Error{status}");
        responses.insert((*status).into(), json!({ "$ref": reference }));
    }
    Json::Object(responses)
}

fn success(route: &Route, schemas: &mut Schemas, comments: &mut Comments) -> Json {
    let mut content = json!({ "application/json": { "schema": reply(route, schemas, comments) } });
    if route.form == Form::Stream {
        content = stream::content(reply(route, schemas, comments));
    }
    if route.binding.replies_raw() {
        content = json!({ "*/*": { "schema": {} } });
    }
    let mut headers = vec!["X-Request-Id", "RateLimit", "RateLimit-Policy"];
    headers.extend(is_validated(route).then_some("ETag"));
    headers.extend(takes_key(&route.rpc.policy).then_some("Idempotency-Replayed"));
    let declared = route.rpc.policy.response_headers.iter().map(HeaderName::as_str);
    let declared = declared
        .filter(|name| !headers.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|name| (name.to_owned(), json!({ "schema": { "type": "string" } })));
    let known = headers.iter().map(|name| {
        ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }))
    });
    json!({
        "description": "The call succeeded.",
        "headers": known.chain(declared).collect::<Map<_, _>>(),
        "content": content,
    })
}

fn reply(route: &Route, schemas: &mut Schemas, comments: &mut Comments) -> Json {
    let binding = &route.binding;
    let plain = route.rpc.policy.style == EdgeStyle::Plain;
    let spelling = Spelling::of(route.rpc.policy.style);
    let data = match &binding.response_field {
        Some(field) => schemas.field(field, spelling, comments),
        None => match (&binding.list, plain) {
            (Some(list), false) => schemas.field(&list.items, spelling, comments),
            _ => schemas.message(&binding.output, spelling),
        },
    };
    if plain {
        return data;
    }
    if route.form == Form::Stream {
        let properties = json!({ "data": data });
        return json!({ "type": "object", "required": ["data"], "properties": properties });
    }
    let meta = if binding.list.is_some() { "ListMeta" } else { "Meta" };
    json!({
        "type": "object",
        "required": ["data", "meta"],
        "properties": {
            "data": data,
            "meta": { "$ref": format!("#/components/schemas/{meta}") },
        },
    })
}

fn first_sentence(text: &str) -> String {
    let end = text.find(". ").or_else(|| text.find(".\n")).unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}
