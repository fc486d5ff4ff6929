//! Enums and their values.

use prost_reflect::{DescriptorPool, EnumDescriptor, EnumValueDescriptor};

use super::super::set;
use super::{Break, gone};

/// Every break of an enum.
pub(super) fn find(kept: &DescriptorPool, today: &DescriptorPool) -> Vec<Break> {
    let is_ours = |of: &EnumDescriptor| set::is_ours(&of.parent_file());
    let mut breaks = Vec::new();
    for old in kept.all_enums().filter(is_ours) {
        let Some(new) = today.get_enum_by_name(old.full_name()) else {
            let others = today.all_enums().filter(is_ours);
            let others =
                others.map(|other| (other.full_name().to_owned(), other.package_name().to_owned()));
            breaks.push(gone(&old.parent_file(), old.full_name(), "enum", others));
            continue;
        };
        breaks.extend(old.values().filter_map(|value| value_break(&value, &new)));
        breaks.extend(released_again(&old, &new));
    }
    breaks
}

fn value_break(old: &EnumValueDescriptor, of: &EnumDescriptor) -> Option<Break> {
    let (name, number) = (old.name(), old.number());
    let (what, mend) = match (of.get_value_by_name(name), first_of(of, number)) {
        (Some(new), _) if new.number() != number => (
            format!("was renumbered from {number} to {}", new.number()),
            format!("give it number {number} again"),
        ),
        // JSON is written with the first of several names.
        (Some(_), Some(first)) if first != first_of(old.parent_enum(), number)? => (
            format!("{first} was put first for number {number}, which renames it in JSON"),
            "list the new name after the old one".to_owned(),
        ),
        (Some(_), _) => return None,
        (None, Some(first)) => {
            (format!("was renamed to {first}, which breaks JSON"), format!("name it {name} again"))
        }
        (None, None) if is_reserved(of, name, number) => return None,
        (None, None) => (
            "was removed, its number and name not both reserved".to_owned(),
            format!("reserve number and name: `reserved {number}; reserved \"{name}\";`"),
        ),
    };
    let subject = format!("{}.{name}", of.full_name());
    Some(Break::new(&old.parent_enum().parent_file(), &subject, what, mend))
}

fn first_of(of: &EnumDescriptor, number: i32) -> Option<String> {
    let values = &of.enum_descriptor_proto().value;
    values.iter().find(|value| value.number() == number).map(|value| value.name().to_owned())
}

fn is_reserved(of: &EnumDescriptor, name: &str, number: i32) -> bool {
    of.reserved_ranges().any(|range| range.contains(&number))
        && of.reserved_names().any(|reserved| reserved == name)
}

/// Reservations that were dropped.
fn released_again(old: &EnumDescriptor, new: &EnumDescriptor) -> Vec<Break> {
    let numbers = old.reserved_ranges().filter(|range| {
        !new.reserved_ranges().any(|now| now.start() <= range.start() && range.end() <= now.end())
    });
    let numbers = numbers.map(|range| format!("numbers {} to {}", range.start(), range.end()));
    let names = old.reserved_names().filter(|name| !new.reserved_names().any(|now| now == *name));
    let names = names.map(|name| format!("the name {name}"));
    let dropped = numbers.chain(names);
    let complain = |what: String| {
        let what = format!("the reservation of {what} was dropped");
        Break::new(&old.parent_file(), old.full_name(), what, "reserve it again")
    };
    dropped.map(complain).collect()
}
