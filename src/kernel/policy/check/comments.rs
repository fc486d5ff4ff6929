//! Comments: they become the documentation of the API.

use std::collections::HashSet;

use prost_reflect::{DescriptorPool, EnumDescriptor, FileDescriptor, MessageDescriptor};

use super::Faults;

/// The packages whose every element is to be documented.
const DOCUMENTED_PACKAGE: &str = "mainstay.";

/// Checks the files that come with their source, as at build time.
pub(super) fn check(pool: &DescriptorPool, faults: &mut Faults) {
    for file in pool.files().filter(|file| file.package_name().starts_with(DOCUMENTED_PACKAGE)) {
        let Some(commented) = commented_paths(&file) else { continue };
        let mut checker = Checker { file: &file, commented, faults };
        for message in file.messages() {
            checker.message(&message);
        }
        for kind in file.enums() {
            checker.enumeration(&kind);
        }
        for service in file.services() {
            checker.element(service.path(), service.full_name());
            for method in service.methods() {
                checker.element(method.path(), method.full_name());
            }
        }
    }
}

/// Where comments are, by the element's path in the descriptor; `None` without source information.
fn commented_paths(file: &FileDescriptor) -> Option<HashSet<Vec<i32>>> {
    let source = file.file_descriptor_proto().source_code_info.as_ref()?;
    let has_text = |comment: &Option<String>| {
        comment.as_deref().is_some_and(|comment| !comment.trim().is_empty())
    };
    let commented = source.location.iter().filter(|location| {
        has_text(&location.leading_comments) || has_text(&location.trailing_comments)
    });
    Some(commented.map(|location| location.path.clone()).collect())
}

struct Checker<'a> {
    file: &'a FileDescriptor,
    commented: HashSet<Vec<i32>>,
    faults: &'a mut Faults,
}

impl Checker<'_> {
    fn element(&mut self, path: &[i32], name: &str) {
        if !self.commented.contains(path) {
            let fault = "has no comment; write above it what it is, for the documentation";
            self.faults.add(self.file, name, fault);
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        if message.is_map_entry() {
            return;
        }
        self.element(message.path(), message.full_name());
        for field in message.fields() {
            self.element(field.path(), field.full_name());
        }
        for inner in message.child_messages() {
            self.message(&inner);
        }
        for inner in message.child_enums() {
            self.enumeration(&inner);
        }
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) {
        self.element(kind.path(), kind.full_name());
        for value in kind.values() {
            self.element(value.path(), value.full_name());
        }
    }
}
