//! Answers: tables for people, JSON for programs.
//!
//! JSON is the contract's message as `google.protobuf` maps it to JSON, fields by their names in the
//! contract, 64-bit integers as text, absent where they have no value; a list is an array. What the
//! contract calls personal or secret reads `[redacted]` unless it was asked for.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use mainstay::contract;
use mainstay::kernel::policy::Redactor;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;

use crate::cli::Form;

/// A column of a table: its header, and where in the JSON its value stands (RFC 6901).
pub(crate) type Column = (&'static str, &'static str);

/// Whether what the contracts protect is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// It is redacted.
    Redacted,
    /// It is shown, as far as the service did.
    All,
}

/// A message as JSON.
pub(crate) fn json<M: Message + Name>(message: &M, show: Show) -> anyhow::Result<Value> {
    let name = M::full_name();
    let descriptor = contract::pool().get_message_by_name(&name).context("a known contract")?;
    let bytes = message.encode_to_vec();
    let mut json = match show {
        Show::Redacted => Redactor::compile(contract::pool())?.json(&descriptor, &bytes),
        Show::All => {
            let message = DynamicMessage::decode(descriptor, bytes.as_slice())?;
            let options = SerializeOptions::new().use_proto_field_name(true);
            message.serialize_with_options(serde_json::value::Serializer, &options)?
        }
    };
    open_payloads(&mut json);
    Ok(json)
}

/// Adds the service that said so, where several are asked.
pub(crate) fn of_service(service: &str, mut json: Value) -> Value {
    if let Value::Object(fields) = &mut json {
        fields.insert("service".to_owned(), service.into());
    }
    json
}

/// Prints a list.
pub(crate) fn list(form: Form, columns: &[Column], items: &[Value]) -> anyhow::Result<()> {
    match form {
        Form::Json => print(&serde_json::to_string_pretty(items)?),
        Form::Table => print(&table(columns, items)),
    }
}

/// Prints one thing: in a table a line for each field.
pub(crate) fn one(form: Form, item: &Value) -> anyhow::Result<()> {
    match (form, item) {
        (Form::Table, Value::Object(fields)) => {
            let rows: Vec<_> = fields
                .iter()
                .map(|(name, value)| serde_json::json!({ "field": name, "value": value }))
                .collect();
            print(&table(&[("FIELD", "/field"), ("VALUE", "/value")], &rows))
        }
        _ => print(&serde_json::to_string_pretty(item)?),
    }
}

/// Prints one of many things that come over time: a JSON object on a line, or some of its values.
pub(crate) fn line(form: Form, columns: &[Column], item: &Value) -> anyhow::Result<()> {
    match form {
        Form::Json => print(&item.to_string()),
        Form::Table => {
            let values = columns.iter().map(|(_, place)| text(item, place));
            print(&values.collect::<Vec<_>>().join("  "))
        }
    }
}

/// Prints text.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Says something beside the answer.
pub(crate) fn say(text: &str) {
    // Nothing is left to be done about a standard error that is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn table(columns: &[Column], items: &[Value]) -> String {
    let bold = std::io::stdout().is_terminal();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(header, _)| {
        let cell = Cell::new(header);
        if bold { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for item in items {
        table.add_row(columns.iter().map(|(_, place)| text(item, place)));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.trim_fmt()
}

/// A value for people: what is absent is a dash.
fn text(item: &Value, place: &str) -> String {
    match item.pointer(place) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            if items.is_empty() { "-".to_owned() } else { plain(&items.join(", ")) }
        }
        Some(other) => plain(&other.to_string()),
    }
}

/// Without control characters: what a service hands on must not steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// JSON within JSON becomes part of it: `payload_json` is `payload`.
fn open_payloads(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.remove("payload_json") {
                let payload = serde_json::from_str(&text).unwrap_or(Value::String(text));
                fields.insert("payload".to_owned(), payload);
            }
            fields.values_mut().for_each(open_payloads);
        }
        Value::Array(items) => items.iter_mut().for_each(open_payloads),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use mainstay::contract::identity::proto::User;
    use mainstay::contract::operations::proto::{DeadLetter, Event};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_personal_is_shown_when_asked_for() {
        let user = User { id: "7".into(), email: "ada@example.org".into(), ..User::default() };
        let redacted = super::json(&user, Show::Redacted).unwrap();
        assert_eq!(redacted, json!({"id": "7", "email": "[redacted]"}));
        let all = super::json(&user, Show::All).unwrap();
        assert_eq!(all, json!({"id": "7", "email": "ada@example.org"}));
    }

    #[test]
    fn a_payload_is_part_of_its_event() {
        let event = Event { payload_json: r#"{"a":1}"#.into(), ..Event::default() };
        let letter = DeadLetter { event: Some(event), ..DeadLetter::default() };
        let json = super::json(&letter, Show::All).unwrap();
        assert_eq!(json.pointer("/event/payload/a"), Some(&json!(1)));
    }

    #[test]
    fn tables_show_dashes_for_what_is_absent_and_no_control_characters() {
        let items = [json!({"a": {"b": "x\u{1b}[31m"}, "list": ["p", "q"]})];
        let table = table(&[("A", "/a/b"), ("B", "/none"), ("LIST", "/list")], &items);
        let words: Vec<_> = table.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(words, ["x", "[31m", "-", "p,", "q"]);
    }
}
