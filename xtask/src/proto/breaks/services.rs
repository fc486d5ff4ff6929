//! Services and their methods.

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use super::super::set;
use super::{Break, gone, routes};

const ADD_INSTEAD: &str = "leave it, marked deprecated, and add a new method instead";

/// Every break of a service.
pub(super) fn find(kept: &DescriptorPool, today: &DescriptorPool) -> Vec<Break> {
    let is_ours = |of: &ServiceDescriptor| set::is_ours(&of.parent_file());
    let mut breaks = Vec::new();
    for old in kept.services().filter(is_ours) {
        let Some(new) = today.get_service_by_name(old.full_name()) else {
            let others = today.services().filter(is_ours);
            let others =
                others.map(|other| (other.full_name().to_owned(), other.package_name().to_owned()));
            breaks.push(gone(&old.parent_file(), old.full_name(), "service", others));
            continue;
        };
        breaks.extend(old.methods().flat_map(|method| method_breaks(&method, &new)));
    }
    breaks
}

fn method_breaks(old: &MethodDescriptor, service: &ServiceDescriptor) -> Vec<Break> {
    let complain =
        |what: String, mend: String| Break::new(&old.parent_file(), old.full_name(), what, mend);
    let Some(new) = service.methods().find(|new| new.name() == old.name()) else {
        let mend = "restore it, marked deprecated; a new version of the package may leave it out";
        return vec![complain("the method was removed".to_owned(), mend.to_owned())];
    };
    let sides = [
        ("request", old.input(), new.input(), old.is_client_streaming(), new.is_client_streaming()),
        ("reply", old.output(), new.output(), old.is_server_streaming(), new.is_server_streaming()),
    ];
    let mut breaks = Vec::new();
    for (side, was, is, streamed, streams) in sides {
        if was.full_name() != is.full_name() {
            let what = format!("its {side} changed from {} to {}", was.full_name(), is.full_name());
            breaks.push(complain(what, ADD_INSTEAD.to_owned()));
        }
        if streamed != streams {
            let form = |streams| if streams { "a stream" } else { "one message" };
            let what = format!("its {side} changed from {} to {}", form(streamed), form(streams));
            breaks.push(complain(what, ADD_INSTEAD.to_owned()));
        }
    }
    breaks.extend(routes::find(old, &new).into_iter().map(|(what, mend)| complain(what, mend)));
    breaks
}
