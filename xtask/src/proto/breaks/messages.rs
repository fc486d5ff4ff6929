//! Messages, and what they have reserved.

use prost_reflect::{DescriptorPool, MessageDescriptor};

use super::super::set;
use super::{Break, events, fields, gone};

/// Every break of a message, of its fields and of what makes it an event.
pub(super) fn find(kept: &DescriptorPool, today: &DescriptorPool) -> Vec<Break> {
    let mut breaks = Vec::new();
    for old in kept.all_messages().filter(is_promised) {
        let Some(new) = today.get_message_by_name(old.full_name()) else {
            let others = today.all_messages().filter(is_promised);
            let others =
                others.map(|other| (other.full_name().to_owned(), other.package_name().to_owned()));
            breaks.push(gone(&old.parent_file(), old.full_name(), "message", others));
            continue;
        };
        breaks.extend(fields::find(&old, &new));
        breaks.extend(released_again(&old, &new));
        breaks.extend(events::find(&old, &new));
    }
    breaks
}

/// Entries of maps are part of their field.
fn is_promised(message: &MessageDescriptor) -> bool {
    set::is_ours(&message.parent_file()) && !message.is_map_entry()
}

/// Reservations that were dropped: what was written before they were made may still be there.
fn released_again(old: &MessageDescriptor, new: &MessageDescriptor) -> Vec<Break> {
    let mut breaks = Vec::new();
    let mut dropped = |what: String| {
        let what = format!("the reservation of {what} was dropped");
        breaks.push(Break::new(&old.parent_file(), old.full_name(), what, "reserve it again"));
    };
    for range in old.reserved_ranges() {
        let kept =
            new.reserved_ranges().any(|now| now.start <= range.start && range.end <= now.end);
        if !kept {
            dropped(format!("numbers {} to {}", range.start, range.end - 1));
        }
    }
    for name in old.reserved_names() {
        if !new.reserved_names().any(|now| now == name) {
            dropped(format!("the name {name}"));
        }
    }
    breaks
}
