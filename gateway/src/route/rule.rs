//! `google.api.http` as descriptors carry it.

use http::Method;
use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage as _, Value};

/// Full name of the method option.
const EXTENSION: &str = "google.api.http";

/// One binding of a method: the option itself, or one of its additional bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpRule {
    /// The HTTP method.
    pub(crate) method: Method,
    /// The path template.
    pub(crate) path: String,
    /// The request field that the body fills.
    pub(crate) body: String,
    /// The response field that becomes the body.
    pub(crate) response_body: String,
}

/// The bindings of a method; none when it has no route. The message of an error says what is wrong.
pub(crate) fn rules(method: &MethodDescriptor) -> Result<Vec<HttpRule>, String> {
    let pool = method.parent_pool();
    let Some(extension) = pool.get_extension_by_name(EXTENSION) else { return Ok(Vec::new()) };
    let options = method.options();
    if !options.has_extension(&extension) {
        return Ok(Vec::new());
    }
    let value = options.get_extension(&extension);
    let Value::Message(rule) = value.as_ref() else { return Ok(Vec::new()) };
    let mut rules = vec![read(rule)?];
    if let Some(value) = rule.get_field_by_name("additional_bindings")
        && let Value::List(additional) = value.as_ref()
    {
        for rule in additional.iter().filter_map(Value::as_message) {
            if rule.get_field_by_name("additional_bindings").is_some_and(|value| is_list(&value)) {
                return Err("additional_bindings nest one level only".into());
            }
            rules.push(read(rule)?);
        }
    }
    Ok(rules)
}

fn is_list(value: &Value) -> bool {
    value.as_list().is_some_and(|list| !list.is_empty())
}

fn read(rule: &DynamicMessage) -> Result<HttpRule, String> {
    let (method, path) = pattern(rule)?;
    Ok(HttpRule {
        method,
        path,
        body: text(rule, "body"),
        response_body: text(rule, "response_body"),
    })
}

fn pattern(rule: &DynamicMessage) -> Result<(Method, String), String> {
    let verbs = [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ];
    for (field, method) in verbs {
        let path = text(rule, field);
        if !path.is_empty() {
            return Ok((method, path));
        }
    }
    let custom =
        rule.descriptor().get_field_by_name("custom").filter(|field| rule.has_field(field));
    let Some(custom) = custom else { return Err("its google.api.http names no path".into()) };
    let value = rule.get_field(&custom);
    let Value::Message(custom) = value.as_ref() else { return Err("no custom pattern".into()) };
    let kind = text(custom, "kind");
    let method =
        Method::from_bytes(kind.as_bytes()).map_err(|_| format!("`{kind}` is no HTTP method"))?;
    if [Method::OPTIONS, Method::CONNECT, Method::TRACE].contains(&method) {
        return Err(format!("`{kind}` is not for services to answer"));
    }
    Ok((method, text(custom, "path")))
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
