//! What operations share: security, error replies, headers, the envelope's own schemas.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

/// The replies of refused calls: status, description, headers beside `X-Request-Id`.
const ERRORS: [(&str, &str, &[&str]); 12] = [
    ("400", "Something in the request is not acceptable; `details` names the fields.", &[]),
    ("401", "No access token, or one that does not hold.", &["WWW-Authenticate"]),
    ("403", "The caller lacks the permission, or the plan does not include the feature.", &[]),
    ("404", "No such resource.", &[]),
    (
        "409",
        "It does not fit the state of things, or the request with this `Idempotency-Key` is being \
         served, or nobody knows what came of it.",
        &["Retry-After"],
    ),
    ("413", "The body is too large.", &[]),
    ("415", "The body is of another media type.", &[]),
    ("422", "This `Idempotency-Key` came with another request before.", &[]),
    ("429", "Too many calls.", &["Retry-After", "RateLimit", "RateLimit-Policy"]),
    ("503", "A service is away.", &["Retry-After"]),
    ("504", "A service did not answer in time.", &[]),
    ("default", "Any other refusal has the same shape.", &[]),
];

/// The document's components.
pub(super) fn components(mut schemas: BTreeMap<String, Json>) -> Json {
    schemas.extend(own_schemas());
    json!({
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "The `access_token` of a login.",
            },
            "api_key": {
                "type": "apiKey",
                "in": "header",
                "name": "X-Api-Key",
                "description": "A key of `POST /api/v1/auth/api-keys`, for programs.",
            },
        },
        "schemas": schemas,
        "responses": responses(),
        "headers": headers(),
    })
}

fn own_schemas() -> [(String, Json); 4] {
    let request_id = json!({ "type": "string", "description": "Id of this request." });
    let meta = json!({
        "type": "object",
        "properties": { "request_id": request_id },
    });
    let list_meta = json!({
        "type": "object",
        "properties": {
            "request_id": request_id,
            "next_cursor": {
                "type": "string",
                "description": "`cursor` of the next page; absent at the end.",
            },
            "total": {
                "type": "integer",
                "description": "How many there are in all; absent unless asked for.",
            },
        },
    });
    [
        ("Meta".into(), meta),
        ("ListMeta".into(), list_meta),
        ("Error".into(), error_schema()),
        ("Problem".into(), problem_schema()),
    ]
}

/// What an error and a problem have in common.
fn refusal() -> Map<String, Json> {
    let properties = json!({
        "code": { "type": "string", "description": "UPPER_SNAKE, for programs." },
        "domain": {
            "type": "string",
            "description": "Who gave the code, where that is not the platform.",
        },
        "request_id": { "type": "string", "description": "Id of this request." },
        "details": {
            "type": "array",
            "description": "One entry for each field at fault and quota reached, then the error's own.",
            "items": {
                "type": "object",
                "properties": {
                    "field": { "type": "string" },
                    "subject": { "type": "string" },
                    "description": { "type": "string" },
                    "reason": { "type": "string" },
                },
            },
        },
    });
    properties.as_object().cloned().unwrap_or_default()
}

/// By RFC 9457.
fn problem_schema() -> Json {
    let mut properties = refusal();
    properties.extend([
        ("type".to_owned(), json!({ "type": "string", "format": "uri-reference" })),
        ("title".to_owned(), json!({ "type": "string", "description": "The status in words." })),
        ("status".to_owned(), json!({ "type": "integer" })),
        ("detail".to_owned(), json!({ "type": "string", "description": "For people." })),
    ]);
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "request_id", "details"],
        "properties": properties,
    })
}

fn error_schema() -> Json {
    let mut properties = refusal();
    let message = json!({ "type": "string", "description": "For people." });
    properties.insert("message".to_owned(), message);
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "request_id", "details"],
                "properties": properties,
            },
        },
    })
}

fn responses() -> Map<String, Json> {
    let mut responses = error_responses();
    let reference = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    let not_modified = json!({
        "description": "The caller has this reply already.",
        "headers": { "X-Request-Id": reference("X-Request-Id"), "ETag": reference("ETag") },
    });
    responses.insert("NotModified".to_owned(), not_modified);
    responses
}

fn error_responses() -> Map<String, Json> {
    let responses = ERRORS.iter().map(|(status, description, names)| {
        let headers: Map<String, Json> = ["X-Request-Id"]
            .iter()
            .chain(names.iter())
            .map(|name| {
                let reference = json!({ "$ref": format!("#/components/headers/{name}") });
                ((*name).to_owned(), reference)
            })
            .collect();
        let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        let response = json!({
            "description": description,
            "headers": headers,
            "content": {
                "application/json": { "schema": schema("Error") },
                "application/problem+json": { "schema": schema("Problem") },
            },
        });
        (format!("Error{status}"), response)
    });
    responses.collect()
}

fn headers() -> Json {
    let text =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "X-Request-Id": text("Id of this request; one that the caller sent is kept."),
        "ETag": text("Names this state of what the reply holds, for `If-None-Match` and `If-Match`."),
        "RateLimit": text("What is left: class, `r` calls, full again in `t` seconds."),
        "RateLimit-Policy": text("The limit: class, `q` calls in `w` seconds."),
        "Idempotency-Replayed": text("`true`: the reply of an earlier request with the same key."),
        "WWW-Authenticate": text("`Bearer`"),
        "Retry-After": {
            "description": "Seconds to wait before the next try.",
            "schema": { "type": "integer" },
        },
    })
}
