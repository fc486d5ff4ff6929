//! From the options of fields to the tree.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use prost_reflect::{FieldDescriptor, Kind as DescriptorKind, MessageDescriptor};
use regex::Regex;

use super::constraint::{Check, Constraint, Ignore, Length, Range, TextRules};
use super::format::Format;
use super::scalar::ScalarKind;
use super::{Field, Kind, Message, MessageRules, Shape};
use crate::kernel::policy::options;
use crate::kernel::proto::validate::{self, FieldRules, field_rules::Type};

impl MessageRules {
    /// Compiles the rules of a type and of every type that it contains.
    pub(crate) fn compile(message: &MessageDescriptor) -> anyhow::Result<Self> {
        Self::compile_with(message, false)
    }

    /// As [`compile`](Self::compile), for contracts made elsewhere: a field whose rules are not
    /// understood, such as expressions in CEL, has none here. Its own server knows them.
    pub(crate) fn compile_leniently(message: &MessageDescriptor) -> anyhow::Result<Self> {
        Self::compile_with(message, true)
    }

    fn compile_with(message: &MessageDescriptor, lenient: bool) -> anyhow::Result<Self> {
        let mut tree = Tree { lenient, ..Tree::default() };
        tree.message(message)?;
        tree.mark_ruled();
        Ok(Self { messages: tree.messages })
    }
}

#[derive(Default)]
struct Tree {
    lenient: bool,
    messages: Vec<Message>,
    positions: HashMap<String, usize>,
}

impl Tree {
    /// The position of a type in the tree, where it is put when it is not there yet.
    fn message(&mut self, message: &MessageDescriptor) -> anyhow::Result<usize> {
        if let Some(position) = self.positions.get(message.full_name()) {
            return Ok(*position);
        }
        let position = self.messages.len();
        self.positions.insert(message.full_name().to_owned(), position);
        self.messages.push(Message::default());
        let mut fields = Vec::new();
        for field in message.fields() {
            fields.push(self.field(&field).with_context(|| field.full_name().to_owned())?);
        }
        fields.sort_by_key(|field| field.number);
        self.messages[position].fields = fields;
        Ok(position)
    }

    /// Finds which messages have rules, in rounds, since a message may contain itself.
    fn mark_ruled(&mut self) {
        loop {
            let is_ruled = |message: &Message| {
                message.fields.iter().any(|field| match field.kind {
                    Kind::Message(inner) if self.messages[inner].is_ruled => true,
                    _ => field.constraint.is_stated(),
                })
            };
            let found: Vec<bool> = self.messages.iter().map(is_ruled).collect();
            let mut changed = false;
            for (message, found) in self.messages.iter_mut().zip(found) {
                changed |= message.is_ruled != found;
                message.is_ruled = found;
            }
            if !changed {
                return;
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptor) -> anyhow::Result<Field> {
        let kind = match ScalarKind::of(&field.kind()) {
            Some(scalar) => Kind::Scalar(scalar),
            None => match field.kind().as_message() {
                Some(message) => Kind::Message(self.message(message)?),
                None => bail!("the type of the field is not known"),
            },
        };
        let constraint = match stated(field) {
            Err(_) if self.lenient => Constraint::default(),
            stated => stated?,
        };
        Ok(Field {
            number: field.number(),
            name: field.name().to_owned(),
            kind,
            shape: shape(field),
            oneof: oneof(field),
            constraint,
        })
    }
}

/// What the contract states of a field.
fn stated(field: &FieldDescriptor) -> anyhow::Result<Constraint> {
    let pool = field.parent_message().parent_pool();
    let rules: Option<FieldRules> = options::read(pool, &field.options(), options::RULES)?;
    constraint(rules.unwrap_or_default(), &field.kind())
}

fn shape(field: &FieldDescriptor) -> Shape {
    match () {
        () if field.is_map() => Shape::Map,
        () if field.is_list() => Shape::List,
        () if field.supports_presence() => Shape::Explicit,
        () => Shape::Implicit,
    }
}

fn oneof(field: &FieldDescriptor) -> Option<usize> {
    let oneof = field.containing_oneof()?;
    field.parent_message().oneofs().position(|other| other == oneof)
}

/// `kind` is that of the field, or of the item, key or value that the rules are about.
fn constraint(rules: FieldRules, kind: &DescriptorKind) -> anyhow::Result<Constraint> {
    let ignore = match rules.ignore() {
        validate::Ignore::Unspecified => Ignore::Absent,
        validate::Ignore::IfZeroValue => Ignore::Zero,
        validate::Ignore::Always => Ignore::Always,
    };
    let required = rules.required();
    let check = rules.r#type.map(|stated| check(stated, kind)).transpose()?;
    Ok(Constraint { required, ignore, check })
}

/// Rules of integers and of floating-point numbers have the same fields, only of other types.
macro_rules! range {
    ($rules:expr, $module:ident, $number:ty) => {{
        use validate::$module::{GreaterThan, LessThan};
        Range::<$number> {
            exactly: $rules.r#const.map(Into::into),
            upper: $rules.less_than.map(|bound| match bound {
                LessThan::Lt(bound) => (bound.into(), false),
                LessThan::Lte(bound) => (bound.into(), true),
            }),
            lower: $rules.greater_than.map(|bound| match bound {
                GreaterThan::Gt(bound) => (bound.into(), false),
                GreaterThan::Gte(bound) => (bound.into(), true),
            }),
            allowed: $rules.r#in.into_iter().map(Into::into).collect(),
            refused: $rules.not_in.into_iter().map(Into::into).collect(),
        }
    }};
}

fn check(stated: Type, kind: &DescriptorKind) -> anyhow::Result<Check> {
    Ok(match stated {
        Type::Float(rules) => {
            let finite = rules.finite();
            Check::Float { range: range!(rules, float_rules, f64), finite }
        }
        Type::Double(rules) => {
            let finite = rules.finite();
            Check::Float { range: range!(rules, double_rules, f64), finite }
        }
        Type::Int32(rules) => Check::Integer(range!(rules, int32_rules, i128)),
        Type::Int64(rules) => Check::Integer(range!(rules, int64_rules, i128)),
        Type::Uint32(rules) => Check::Integer(range!(rules, u_int32_rules, i128)),
        Type::Uint64(rules) => Check::Integer(range!(rules, u_int64_rules, i128)),
        Type::Bool(rules) => Check::Bool(rules.r#const),
        Type::String(rules) => Check::Text(Box::new(text(rules)?)),
        Type::Bytes(rules) => Check::Bytes(Length { min: rules.min_len, max: rules.max_len }),
        Type::Enum(rules) => {
            let numbers = |kind: &DescriptorKind| {
                let values = kind.as_enum()?.values().map(|value| value.number()).collect();
                Some(values)
            };
            Check::Enum {
                defined: rules.defined_only().then(|| numbers(kind)).flatten(),
                allowed: rules.r#in,
                refused: rules.not_in,
            }
        }
        Type::Repeated(rules) => Check::List {
            items: Length { min: rules.min_items, max: rules.max_items },
            unique: rules.unique(),
            each: Box::new(constraint(rules.items.map(|items| *items).unwrap_or_default(), kind)?),
        },
        Type::Map(rules) => {
            let entry = kind.as_message().context("map rules on a field that is no map")?;
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let of_keys = rules.keys.map(|keys| *keys).unwrap_or_default();
            let of_values = rules.values.map(|values| *values).unwrap_or_default();
            Check::Map {
                pairs: Length { min: rules.min_pairs, max: rules.max_pairs },
                keys: Box::new(constraint(of_keys, &key.kind())?),
                values: Box::new(constraint(of_values, &value.kind())?),
            }
        }
    })
}

fn text(rules: validate::StringRules) -> anyhow::Result<TextRules> {
    use validate::string_rules::WellKnown;
    let format = match rules.well_known {
        Some(WellKnown::Email(true)) => Some(Format::Email),
        Some(WellKnown::Hostname(true)) => Some(Format::Hostname),
        Some(WellKnown::Ip(true)) => Some(Format::Ip),
        Some(WellKnown::Uri(true)) => Some(Format::Uri),
        Some(WellKnown::Uuid(true)) => Some(Format::Uuid),
        _ => None,
    };
    let pattern = rules.pattern.as_deref().map(Regex::new).transpose();
    Ok(TextRules {
        exactly: rules.r#const,
        characters: Length { min: rules.len.or(rules.min_len), max: rules.len.or(rules.max_len) },
        bytes: Length { min: rules.min_bytes, max: rules.max_bytes },
        pattern: pattern.context("the pattern is no regular expression")?,
        prefix: rules.prefix,
        suffix: rules.suffix,
        contains: rules.contains,
        not_contains: rules.not_contains,
        allowed: rules.r#in,
        refused: rules.not_in,
        format,
    })
}
