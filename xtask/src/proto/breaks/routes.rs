//! REST routes of a method: the option `google.api.http`.

use prost_reflect::{DynamicMessage, MethodDescriptor, Value};

use super::options;

const OPTION: &str = "google.api.http";
/// Fields of the rule that state verb and path.
const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// One verb and path, and what part of the messages the bodies are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    /// Such as `POST /v1/users`.
    address: String,
    body: String,
    response_body: String,
}

/// What was broken of a method's routes, and the mend.
pub(super) fn find(old: &MethodDescriptor, new: &MethodDescriptor) -> Vec<(String, String)> {
    let today = routes(new);
    let mut breaks = Vec::new();
    for route in routes(old) {
        let address = &route.address;
        match today.iter().find(|now| now.address == *address) {
            None => breaks.push((
                format!("the route {address} was removed"),
                "restore it; a new one may stand in additional_bindings".to_owned(),
            )),
            Some(now) if *now != route => breaks.push((
                format!("the body of the route {address} changed"),
                "restore body and response_body, and add a new route instead".to_owned(),
            )),
            Some(_) => {}
        }
    }
    breaks
}

fn routes(method: &MethodDescriptor) -> Vec<Route> {
    let rule = options::read(method.parent_pool(), &method.options(), OPTION);
    let Some(rule) = rule else {
        return Vec::new();
    };
    let additional = rule.get_field_by_name("additional_bindings");
    let additional = additional.as_deref().and_then(Value::as_list).unwrap_or_default();
    let bindings = additional.iter().filter_map(Value::as_message);
    std::iter::once(&rule).chain(bindings).filter_map(route).collect()
}

fn route(rule: &DynamicMessage) -> Option<Route> {
    Some(Route {
        address: address(rule)?,
        body: options::text(rule, "body"),
        response_body: options::text(rule, "response_body"),
    })
}

fn address(rule: &DynamicMessage) -> Option<String> {
    let stated = VERBS.iter().map(|verb| (verb.to_uppercase(), options::text(rule, verb)));
    let plain = stated.into_iter().find(|(_, path)| !path.is_empty());
    let (verb, path) = plain.or_else(|| {
        let custom = rule.get_field_by_name("custom")?;
        let custom = custom.as_message()?;
        Some((options::text(custom, "kind"), options::text(custom, "path")))
    })?;
    (!path.is_empty()).then(|| format!("{verb} {path}"))
}
