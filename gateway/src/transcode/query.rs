//! Query parameters: `?page_size=20&user.name=x&state=ACTIVE&state=PENDING`.

use mainstay::kernel::error::Result;
use prost_reflect::{FieldDescriptor, Kind as Described, MessageDescriptor};

use super::binding::{Binding, Body};
use super::plan::{Field, Form, Kind, Shape};
use super::read::out::Wire;
use super::read::scalar::Wrong;
use super::read::{BY_PATH, DEEPEST, EXTENSION, Unknown, too_deep, write_text};
use super::request::{Places, RequestPlan};
use super::violations::Violations;
use crate::route::percent;

/// The most parameters that one request may have.
const MOST_PARAMETERS: usize = 200;

/// The parameter that carries a list's cursor.
pub(crate) const CURSOR: &str = "cursor";

/// The decoded parameters of a request, in their order.
pub(crate) type Parameters = Vec<(String, String)>;

/// Decodes a query string.
pub(crate) fn parse(query: Option<&str>) -> Result<Parameters> {
    let mut parameters = Vec::new();
    let mut violations = Violations::default();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (percent::decode_query(name), percent::decode_query(value)) {
            (Ok(name), Ok(value)) => parameters.push((name, value)),
            (name, _) => violations
                .add(name.unwrap_or_else(|_| "query".to_owned()), percent::NotText.to_string()),
        }
        if parameters.len() > MOST_PARAMETERS {
            violations.add("query", format!("has more than {MOST_PARAMETERS} parameters"));
            break;
        }
    }
    violations.into_result()?;
    Ok(parameters)
}

/// The one cursor among the parameters, taken out of them.
pub(crate) fn take_cursor(parameters: &mut Parameters) -> Result<Option<String>> {
    let mut cursors: Vec<String> = Vec::new();
    parameters.retain(|(name, value)| {
        let is_cursor = name == CURSOR;
        if is_cursor {
            cursors.push(value.clone());
        }
        !is_cursor
    });
    let mut violations = Violations::default();
    if cursors.len() > 1 {
        violations.add(CURSOR, "is given twice");
    }
    violations.into_result()?;
    Ok(cursors.pop().filter(|cursor| !cursor.is_empty()))
}

/// The fields of a request that have been given already, as paths of places. They are few.
pub(crate) struct Given {
    paths: Vec<Vec<u16>>,
}

impl Given {
    /// Those that path and body give.
    pub(crate) fn by(places: &Places, has_body: bool) -> Self {
        let mut paths = places.captured.clone();
        paths.extend(places.body.filter(|_| has_body).map(|place| vec![place]));
        Self { paths }
    }

    /// Each of them.
    pub(crate) fn paths(&self) -> &[Vec<u16>] {
        &self.paths
    }

    /// The name of a field that is given and of the same oneof as one on this path.
    pub(crate) fn rival<'p>(&self, plan: &'p RequestPlan, path: &[u16]) -> Option<&'p str> {
        self.paths
            .iter()
            .find_map(|given| {
                let same = path.iter().zip(given).take_while(|(one, other)| one == other).count();
                let (one, other) = (path.get(same)?, given.get(same)?);
                let mut message = plan.message_type()?;
                for place in path.get(..same)? {
                    message = message.fields.get(usize::from(*place))?.message(&plan.table)?;
                }
                let is_rival = message.fields.get(usize::from(*one))?.rivals.contains(other);
                is_rival.then(|| message.fields.get(usize::from(*other))).flatten()
            })
            .map(|rival| rival.name.as_str())
    }
}

/// Writes the fields that the parameters name.
pub(crate) fn apply(
    binding: &Binding,
    parameters: &Parameters,
    given: &mut Given,
    wire: &mut Wire,
    violations: &mut Violations,
) {
    for (name, text) in parameters {
        let Some((path, field)) = resolve(binding, name) else {
            if let Some(reason) = stranger(name, binding.plan.unknown) {
                violations.add(name, reason);
            }
            continue;
        };
        if path.len() > DEEPEST {
            violations.add(name, too_deep());
        } else if binding.places.captured.contains(&path) {
            violations.add(name, BY_PATH);
        } else if let Some(rival) = given.rival(&binding.plan, &path) {
            violations.add(name, format!("cannot be given beside `{rival}`"));
        } else if given.paths.contains(&path) && field.shape != Shape::List {
            violations.add(name, "is given twice");
        } else {
            match write(wire, &binding.plan, &path, text) {
                Err(Wrong::NoSuchName(_)) if binding.plan.unknown == Unknown::Ignore => {}
                Err(wrong) => violations.add(name, wrong.into_text()),
                Ok(()) => {}
            }
            given.paths.push(path);
        }
    }
}

/// Why a parameter is refused that is none of the call's; absent where it is passed over.
fn stranger(name: &str, unknown: Unknown) -> Option<&'static str> {
    match unknown {
        _ if name.split('.').any(|part| part.starts_with('[')) => Some(EXTENSION),
        Unknown::Refuse => Some("is no query parameter of this call"),
        Unknown::Ignore => None,
    }
}

/// Writes the field at a path, within the messages on the way. Of a list it is one more item.
pub(crate) fn write(
    wire: &mut Wire,
    plan: &RequestPlan,
    path: &[u16],
    text: &str,
) -> std::result::Result<(), Wrong> {
    let mark = wire.mark();
    let written = write_within(wire, plan, plan.root, path, text);
    let written = written.unwrap_or(Err(Wrong::Said("cannot be given as a text".into())));
    if written.is_err() {
        wire.back_to(mark);
    }
    written
}

fn write_within(
    wire: &mut Wire,
    plan: &RequestPlan,
    message: usize,
    path: &[u16],
    text: &str,
) -> Option<std::result::Result<(), Wrong>> {
    let (first, rest) = path.split_first()?;
    let field = plan.table.message(message)?.fields.get(usize::from(*first))?;
    if !rest.is_empty() {
        let Kind::Message(inner) = field.kind else { return None };
        wire.tag(field.tag);
        let begin = wire.begin();
        let written = write_within(wire, plan, inner, rest, text);
        wire.end(begin);
        return written;
    }
    let mark = wire.mark();
    wire.tag(field.kind.wire_type().tag(field.number));
    let value = wire.mark();
    let written = write_text(wire, &plan.table, field.kind, text)?;
    if field.shape == Shape::Single && !field.presence && wire.is_dispensable(value) {
        wire.back_to(mark);
    }
    Some(written)
}

/// The field that a parameter names and may set, with its path.
fn resolve<'b>(binding: &'b Binding, name: &str) -> Option<(Vec<u16>, &'b Field)> {
    let table = &binding.plan.table;
    let (mut message, mut path, mut last) = (binding.plan.message_type(), Vec::new(), None);
    for part in name.split('.') {
        let known = message?;
        let place = known.find(part)?.place;
        let field = known.fields.get(usize::from(place))?;
        message = field.message(table);
        if matches!(known.form, Form::Wrapper) && last.is_some() {
            continue; // its value is all of it
        }
        path.push(place);
        last = Some(field);
    }
    let first = path.first().copied();
    let bound_by_body = match &binding.body {
        Body::Nothing => false,
        Body::Message | Body::Raw => true,
        Body::Field(_) | Body::RawField(_) => binding.places.body == first,
    };
    let is_page_token = binding.places.page_token == first && first.is_some();
    let field = last.filter(|field| settable(binding, field))?;
    (!bound_by_body && !is_page_token).then_some((path, field))
}

/// Whether a query may set a field: every scalar, and messages that are written as one text.
fn settable(binding: &Binding, field: &Field) -> bool {
    match field.kind {
        _ if field.shape == Shape::Map => false,
        Kind::Message(place) => binding.plan.table.message(place).is_some_and(|message| {
            let form = &message.form;
            matches!(form, Form::Timestamp | Form::Duration | Form::FieldMask | Form::Wrapper)
        }),
        _ => true,
    }
}

/// The fields that a dotted name passes through; `None` where there are none such.
pub(crate) fn fields_at(
    message: &MessageDescriptor,
    names: impl IntoIterator<Item = impl AsRef<str>>,
) -> Option<Vec<FieldDescriptor>> {
    let mut message = Some(message.clone());
    let mut path = Vec::new();
    for name in names {
        let field = message.as_ref()?.get_field_by_name(name.as_ref())?;
        message = match field.kind() {
            Described::Message(inner) if !field.is_list() => Some(inner),
            _ => None,
        };
        path.push(field);
    }
    Some(path)
}

/// The parameters that a request message has, as OpenAPI lists them: dotted name and field.
pub(crate) fn available(binding: &Binding) -> Vec<(String, FieldDescriptor)> {
    let mut found = Vec::new();
    collect(binding, &binding.input, "", 0, &mut found);
    found.retain(|(name, _)| !binding.path_fields.contains(name));
    found
}

fn collect(
    binding: &Binding,
    message: &MessageDescriptor,
    prefix: &str,
    depth: usize,
    found: &mut Vec<(String, FieldDescriptor)>,
) {
    const SHOWN_LEVELS: usize = 3;
    for field in message.fields() {
        let name = match prefix {
            "" => field.name().to_owned(),
            _ => format!("{prefix}.{}", field.name()),
        };
        match field.kind() {
            _ if resolve(binding, &name).is_some() => found.push((name, field)),
            Described::Message(inner)
                if !field.is_list() && !field.is_map() && depth < SHOWN_LEVELS =>
            {
                collect(binding, &inner, &name, depth + 1, found);
            }
            _ => {}
        }
    }
}
