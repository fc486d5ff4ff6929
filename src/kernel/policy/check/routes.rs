//! Routes: `google.api.http`.

use std::collections::HashMap;

use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MethodDescriptor, Value};

use super::options::{self, alternative, field_at, read, text};
use super::template::PathTemplate;
use super::{Faults, is_governed};

pub(super) fn check(pool: &DescriptorPool, faults: &mut Faults) {
    let mut routes = HashMap::new();
    for service in pool.services().filter(is_governed) {
        for method in service.methods() {
            let Some(rule) = read(pool, &method.options(), options::HTTP) else { continue };
            let mut found = Vec::new();
            for (verb, shape) in check_rule(&method, &rule, &mut found) {
                let route = format!("{verb} {shape}");
                if let Some(other) = routes.insert(route.clone(), method.full_name().to_owned()) {
                    found.push(format!(
                        "the route {route} is that of {other} too; give one of them another path"
                    ));
                }
            }
            for fault in found {
                faults.add(&method.parent_file(), method.full_name(), fault);
            }
        }
    }
}

/// The routes of a rule and of its additional bindings, as verb and shape.
fn check_rule(
    method: &MethodDescriptor,
    rule: &DynamicMessage,
    faults: &mut Vec<String>,
) -> Vec<(String, String)> {
    let more = rule.get_field_by_name("additional_bindings");
    let more = more.as_deref().and_then(Value::as_list).unwrap_or_default();
    let more: Vec<_> = more.iter().filter_map(Value::as_message).collect();
    if more.iter().any(|rule| rule.has_field_by_name("additional_bindings")) {
        faults.push("additional_bindings are nested; list them all in the first rule's".to_owned());
    }
    [rule].into_iter().chain(more).filter_map(|rule| check_binding(method, rule, faults)).collect()
}

fn check_binding(
    method: &MethodDescriptor,
    rule: &DynamicMessage,
    faults: &mut Vec<String>,
) -> Option<(String, String)> {
    let Some((verb, path)) = pattern(rule) else {
        faults.push("the route states no path; state one such as `get: \"/api/v1/…\"`".to_owned());
        return None;
    };
    check_body(method, rule, &verb, faults);
    let template = match PathTemplate::parse(&path) {
        Ok(template) => template,
        Err(fault) => {
            faults.push(format!(
                "the path {path:?} does not parse: {fault}; write it such as \"/api/v1/users/{{user_id}}\""
            ));
            return None;
        }
    };
    for variable in &template.variables {
        let field = field_at(&method.input(), variable).and_then(|field| match field.kind() {
            Kind::Message(_) => Err(format!("the field {variable} is a message")),
            _ => Ok(()),
        });
        if let Err(fault) = field {
            faults.push(format!(
                "the path {path:?} cannot be bound: {fault}; name plain fields of {}",
                method.input().full_name()
            ));
        }
    }
    Some((verb, template.shape))
}

fn check_body(
    method: &MethodDescriptor,
    rule: &DynamicMessage,
    verb: &str,
    faults: &mut Vec<String>,
) {
    let (body, response) = (text(rule, "body"), text(rule, "response_body"));
    let (input, output) = (method.input(), method.output());
    if verb == "GET" {
        let declared = method.method_descriptor_proto().options.as_ref();
        let level = declared.map(|options| options.idempotency_level());
        if level != Some(IdempotencyLevel::NoSideEffects) {
            faults.push(
                "is a GET that does not state that it changes nothing, as every client and cache \
                 will take for granted; state `option idempotency_level = NO_SIDE_EFFECTS;`, or \
                 another verb"
                    .to_owned(),
            );
        }
        if !body.is_empty() {
            faults.push("is a GET with a body; leave `body` out, or use POST".to_owned());
        }
    }
    if !matches!(body.as_str(), "" | "*") && input.get_field_by_name(&body).is_none() {
        faults.push(format!(
            "the body names the unknown field {body:?}; name a field of {}, or \"*\"",
            input.full_name()
        ));
    }
    if !response.is_empty() && output.get_field_by_name(&response).is_none() {
        faults.push(format!(
            "the response_body names the unknown field {response:?}; name a field of {}",
            output.full_name()
        ));
    }
}

/// The HTTP verb and the path.
fn pattern(rule: &DynamicMessage) -> Option<(String, String)> {
    match alternative(rule, "pattern")? {
        (_, Value::Message(custom)) => Some((text(&custom, "kind"), text(&custom, "path"))),
        (verb, path) => Some((verb.to_uppercase(), path.as_str()?.to_owned())),
    }
}
