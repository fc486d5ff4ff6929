//! Fields: number, names, type, cardinality, oneof.

use std::collections::BTreeSet;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::Break;

const ADD_INSTEAD: &str = "leave it, marked deprecated, and add a new field instead";

/// Types within a row read each other's bytes and JSON, as far as the value fits both.
const ALIKE: [[&str; 2]; 4] =
    [["int32", "uint32"], ["int64", "uint64"], ["fixed32", "sfixed32"], ["fixed64", "sfixed64"]];

/// Every break of a message's fields.
pub(super) fn find(old: &MessageDescriptor, new: &MessageDescriptor) -> Vec<Break> {
    old.fields().flat_map(|field| field_breaks(&field, new)).collect()
}

fn field_breaks(old: &FieldDescriptor, message: &MessageDescriptor) -> Vec<Break> {
    let complain =
        |what: String, mend: String| Break::new(&old.parent_file(), old.full_name(), what, mend);
    let by_name = message.get_field_by_name(old.name());
    if let Some(moved) = by_name.filter(|moved| moved.number() != old.number()) {
        let (was, is) = (old.number(), moved.number());
        return vec![complain(
            format!("was renumbered from {was} to {is}"),
            format!("give it number {was} again"),
        )];
    }
    let Some(new) = message.get_field(old.number()) else {
        return removed(old, message)
            .map(|(what, mend)| complain(what, mend))
            .into_iter()
            .collect();
    };
    let differences = [renamed(old, &new), retyped(old, &new), regrouped(old, &new)];
    differences.into_iter().flatten().map(|(what, mend)| complain(what, mend)).collect()
}

type Difference = Option<(String, String)>;

fn removed(old: &FieldDescriptor, message: &MessageDescriptor) -> Difference {
    let (name, number) = (old.name(), old.number());
    let number_kept = message.reserved_ranges().any(|range| range.contains(&number));
    let name_kept = message.reserved_names().any(|reserved| reserved == name);
    let (what, mend) = match (number_kept, name_kept) {
        (true, true) => return None,
        (false, true) => ("number", format!("`reserved {number};`")),
        (true, false) => ("name", format!("`reserved \"{name}\";`")),
        (false, false) => ("number and name", format!("`reserved {number}; reserved \"{name}\";`")),
    };
    Some((format!("was removed, its {what} not reserved"), format!("reserve {what}: {mend}")))
}

/// The edge speaks both forms of a name, `user_id` and `userId`.
fn renamed(old: &FieldDescriptor, new: &FieldDescriptor) -> Difference {
    let (was, is) = if old.name() != new.name() {
        (old.name(), new.name())
    } else if old.json_name() != new.json_name() {
        (old.json_name(), new.json_name())
    } else {
        return None;
    };
    let what = format!("was renamed from {was} to {is}, which breaks JSON");
    let mend = if old.name() == new.name() {
        "restore its json_name".to_owned()
    } else {
        format!("name it {was} again, or add a new field with a new number instead")
    };
    Some((what, mend))
}

fn retyped(old: &FieldDescriptor, new: &FieldDescriptor) -> Difference {
    let (was, is) = (shape(old), shape(new));
    let compatible = was.0 == is.0
        && was.1.len() == is.1.len()
        && was.1.iter().zip(&is.1).all(|(was, is)| reads(was, is));
    let what = || format!("changed from {} to {}", text(&was), text(&is));
    (!compatible).then(|| (what(), ADD_INSTEAD.to_owned()))
}

/// Cardinality, and the types that it is of: key and value of a map, else one. Whether absence shows
/// (`optional`) is no part of it: either form reads the other.
fn shape(field: &FieldDescriptor) -> (&'static str, Vec<String>) {
    let name = |kind: Kind| format!("{kind:?}");
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let of = [entry.map_entry_key_field(), entry.map_entry_value_field()];
        return ("map", of.map(|field| name(field.kind())).to_vec());
    }
    let cardinality = match field.cardinality() {
        Cardinality::Repeated => "repeated",
        Cardinality::Required => "required",
        Cardinality::Optional => "",
    };
    (cardinality, vec![name(field.kind())])
}

fn text((cardinality, types): &(&str, Vec<String>)) -> String {
    match types.as_slice() {
        [key, value] => format!("map<{key}, {value}>"),
        types => format!("{cardinality} {}", types.join(" ")).trim_start().to_owned(),
    }
}

fn reads(was: &str, is: &str) -> bool {
    was == is || ALIKE.iter().any(|row| row.contains(&was) && row.contains(&is))
}

fn regrouped(old: &FieldDescriptor, new: &FieldDescriptor) -> Difference {
    let was = company(old, &new.parent_message().clone());
    let is = company(new, &old.parent_message().clone());
    let what = match (&was, &is) {
        (Some(_), None) => "was moved out of its oneof",
        (None, Some(_)) => "was moved into a oneof",
        (Some(was), Some(is)) if was != is => "shares its oneof with other fields than before",
        _ => return None,
    };
    Some((what.to_owned(), ADD_INSTEAD.to_owned()))
}

/// Fields that share the field's oneof and that the other message has too: a new field may join, and
/// one that was rightly removed may leave.
fn company(field: &FieldDescriptor, other: &MessageDescriptor) -> Option<BTreeSet<u32>> {
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic())?;
    let numbers = oneof.fields().map(|field| field.number());
    Some(numbers.filter(|number| other.get_field(*number).is_some()).collect())
}
