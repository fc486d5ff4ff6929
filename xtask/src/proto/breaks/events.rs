//! Events: topic and key, the option `mainstay.policy.v1.event`.

use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::{Break, options};

const OPTION: &str = "mainstay.policy.v1.event";

/// Every break of what consumers rely on to find an event, and to have it in order.
pub(super) fn find(old: &MessageDescriptor, new: &MessageDescriptor) -> Vec<Break> {
    let complain =
        |what: String, mend: &str| Break::new(&old.parent_file(), old.full_name(), what, mend);
    let Some(was) = option(old) else {
        return Vec::new();
    };
    let Some(is) = option(new) else {
        return vec![complain("is no event any more".to_owned(), "restore its event option")];
    };
    let mut breaks = Vec::new();
    for (what, mend) in [
        ("topic", "restore it, and add a new event for the new topic"),
        ("key", "restore it, and add a new event with the new key"),
    ] {
        let (was, is) = (options::text(&was, what), options::text(&is, what));
        if was != is {
            breaks.push(complain(format!("its {what} changed from `{was}` to `{is}`"), mend));
        }
    }
    breaks
}

/// Whether a message is an event.
pub(in crate::proto) fn is_event(message: &MessageDescriptor) -> bool {
    option(message).is_some()
}

fn option(message: &MessageDescriptor) -> Option<DynamicMessage> {
    options::read(message.parent_pool(), &message.options(), OPTION)
}
