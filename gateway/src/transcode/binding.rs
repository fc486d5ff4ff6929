//! How the parts of an HTTP request fill a request message, compiled from one `HttpRule`.

use std::sync::Arc;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use super::plan::{JsonPlan, Spelling, is_wrapper};
use super::query::Given;
use super::read::{Taken, Unknown};
use super::request::{Places, RequestPlan};
use crate::route::rule::HttpRule;
use crate::route::template::Template;

/// Full name of the message whose bytes travel as they are.
const HTTP_BODY: &str = "google.api.HttpBody";

/// The compiled binding of one route.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// The request message.
    pub(crate) input: MessageDescriptor,
    /// The response message.
    pub(crate) output: MessageDescriptor,
    /// What the HTTP body fills.
    pub(crate) body: Body,
    /// The response field that becomes the HTTP body; the whole response when absent.
    pub(crate) response_field: Option<FieldDescriptor>,
    /// Present where the response is a page of a list.
    pub(crate) list: Option<ListShape>,
    /// The request's field mask, filled from the fields that a PATCH body has.
    pub(crate) update_mask: Option<FieldDescriptor>,
    /// Dotted paths of the fields that the path fills. The value of a wrapper is all of it, so that
    /// `{count.value}` fills `count`.
    pub(crate) path_fields: Vec<String>,
    /// How JSON becomes the request message.
    pub(crate) plan: RequestPlan,
    /// Which of its fields the parts of a request fill.
    pub(crate) places: Places,
}

/// What the HTTP body fills.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Nothing: there is none.
    Nothing,
    /// The whole request message, from JSON.
    Message,
    /// One field of it, from JSON.
    Field(FieldDescriptor),
    /// One `google.api.HttpBody` field of it, unchanged.
    RawField(FieldDescriptor),
    /// The request message is itself `google.api.HttpBody`.
    Raw,
}

/// A response that is one page of a list.
#[derive(Clone, Debug)]
pub(crate) struct ListShape {
    /// The repeated field.
    pub(crate) items: FieldDescriptor,
    /// `next_page_token`.
    pub(crate) next_page_token: FieldDescriptor,
    /// The request's `page_token`.
    pub(crate) page_token: FieldDescriptor,
}

impl Binding {
    /// Compiles the binding over a table in which the request message is. The message of an error
    /// says what does not fit.
    pub(crate) fn compile(
        method: &MethodDescriptor,
        rule: &HttpRule,
        template: &Template,
        table: Arc<JsonPlan>,
        unknown: Unknown,
    ) -> Result<Self, String> {
        let (input, output) = (method.input(), method.output());
        let path_fields = path_fields(&input, template)?;
        let body = compile_body(&input, &rule.body)?;
        let response_field = match rule.response_body.as_str() {
            "" => None,
            name => Some(field_of(&output, name)?),
        };
        let list = match table.spelling {
            Spelling::Contract => list_shape(&input, &output),
            // A plain list is a message like others, with the page tokens of its contract.
            Spelling::Canonical => None,
        };
        let update_mask = update_mask(&input, &body, &rule.method);
        let plan = RequestPlan::new(table, input.full_name(), unknown)?;
        let mut binding = Self {
            input,
            output,
            body,
            response_field,
            list,
            update_mask,
            path_fields,
            plan,
            places: Places::default(),
        };
        binding.places = binding.places()?;
        Ok(binding)
    }

    fn places(&self) -> Result<Places, String> {
        let place = |field: &FieldDescriptor| self.place(&[field.name()])?.first().copied();
        let mut places = Places {
            body: match &self.body {
                Body::Field(field) | Body::RawField(field) => place(field),
                _ => None,
            },
            update_mask: self.update_mask.as_ref().and_then(place),
            page_token: self.list.as_ref().and_then(|list| place(&list.page_token)),
            captured: Vec::new(),
            taken: Taken::default(),
        };
        for field in &self.path_fields {
            let names: Vec<&str> = field.split('.').collect();
            let path = self.place(&names).ok_or_else(|| format!("`{field}` was not compiled"))?;
            if path.len() == 1 && path.first().copied() == places.body {
                return Err(format!("`{field}` is given by path and body"));
            }
            if let Some(rival) = Given::by(&places, places.body.is_some()).rival(&self.plan, &path)
            {
                return Err(format!("`{field}` and `{rival}` are of one oneof"));
            }
            places.taken.add(&path);
            places.captured.push(path);
        }
        Ok(places)
    }

    /// The places of a field and of the messages it is in, by the contract's names.
    fn place(&self, names: &[&str]) -> Option<Vec<u16>> {
        let (mut message, mut path) = (self.plan.message_type(), Vec::new());
        for name in names {
            let known = message?;
            let place = known.named(name)?;
            message = known.fields.get(place)?.message(&self.plan.table);
            path.push(u16::try_from(place).ok()?);
        }
        Some(path)
    }

    /// Whether the reply is bytes that travel as they are.
    pub(crate) fn replies_raw(&self) -> bool {
        match &self.response_field {
            Some(field) => match field.kind() {
                Kind::Message(message) => is_http_body(&message) && !field.is_list(),
                _ => false,
            },
            None => is_http_body(&self.output),
        }
    }

    /// The name by which a REST caller knows a field of the request.
    pub(crate) fn caller_name(&self, field: &str) -> String {
        if let Body::Field(body) = &self.body
            && let Some(inner) = field.strip_prefix(body.name()).and_then(|s| s.strip_prefix('.'))
        {
            return inner.to_owned();
        }
        if self.list.is_some() && field == "page_token" {
            return "cursor".to_owned();
        }
        field.to_owned()
    }
}

/// Whether a message is `google.api.HttpBody`.
pub(crate) fn is_http_body(message: &MessageDescriptor) -> bool {
    message.full_name() == HTTP_BODY
}

fn path_fields(input: &MessageDescriptor, template: &Template) -> Result<Vec<String>, String> {
    let mut paths = Vec::new();
    for variable in template.variables() {
        let mut message = input.clone();
        for (index, name) in variable.field.iter().enumerate() {
            let field = field_of(&message, name)?;
            if field.is_list() || field.is_map() {
                return Err(format!("a path cannot fill the repeated field `{name}`"));
            }
            match field.kind() {
                Kind::Message(next) if index + 1 < variable.field.len() => message = next,
                Kind::Message(_) => return Err(format!("a path cannot fill the message `{name}`")),
                _ if index + 1 < variable.field.len() => {
                    return Err(format!("`{name}` is no message"));
                }
                _ => {}
            }
        }
        let names = match variable.field.split_last() {
            Some((_, outer)) if is_wrapper(&message) && !outer.is_empty() => outer,
            _ => &*variable.field,
        };
        paths.push(names.join("."));
    }
    Ok(paths)
}

fn compile_body(input: &MessageDescriptor, body: &str) -> Result<Body, String> {
    match body {
        "" => Ok(Body::Nothing),
        "*" if is_http_body(input) => Ok(Body::Raw),
        "*" => Ok(Body::Message),
        name => {
            let field = field_of(input, name)?;
            match field.kind() {
                Kind::Message(message) if is_http_body(&message) && !field.is_list() => {
                    Ok(Body::RawField(field))
                }
                _ => Ok(Body::Field(field)),
            }
        }
    }
}

fn field_of(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    message
        .get_field_by_name(name)
        .ok_or_else(|| format!("`{}` has no field `{name}`", message.full_name()))
}

/// A list has `next_page_token` and exactly one repeated message field, and its request takes
/// `page_token`.
fn list_shape(input: &MessageDescriptor, output: &MessageDescriptor) -> Option<ListShape> {
    let next_page_token = output.get_field_by_name("next_page_token")?;
    let page_token = input.get_field_by_name("page_token")?;
    let mut repeated =
        output.fields().filter(|field| field.is_list() && matches!(field.kind(), Kind::Message(_)));
    let items = repeated.next()?;
    repeated.next().is_none().then_some(ListShape { items, next_page_token, page_token })
}

fn update_mask(
    input: &MessageDescriptor,
    body: &Body,
    method: &http::Method,
) -> Option<FieldDescriptor> {
    let mask = input.get_field_by_name("update_mask")?;
    let is_mask = matches!(
        mask.kind(),
        Kind::Message(message) if message.full_name() == "google.protobuf.FieldMask"
    );
    let fills = *method == http::Method::PATCH && matches!(body, Body::Field(_));
    (is_mask && fills && !mask.is_list()).then_some(mask)
}
