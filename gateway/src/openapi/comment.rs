//! Comments of the contracts, by descriptor.

use std::collections::HashMap;

use prost_reflect::{
    EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

/// Comments of files, indexed when first needed.
#[derive(Default)]
pub(super) struct Comments {
    files: HashMap<FileKey, HashMap<Vec<i32>, String>>,
}

/// A file of one service's pool: two services may have different versions of a file.
type FileKey = (usize, String);

impl Comments {
    /// The comment of a service.
    pub(super) fn of_service(&mut self, service: &ServiceDescriptor) -> String {
        self.find(&service.parent_file(), service.path()).unwrap_or_else(|| words(service.name()))
    }

    /// The comment of a method.
    pub(super) fn of_method(&mut self, method: &MethodDescriptor) -> String {
        self.find(&method.parent_file(), method.path()).unwrap_or_else(|| words(method.name()))
    }

    /// The comment of a message.
    pub(super) fn of_message(&mut self, message: &MessageDescriptor) -> String {
        self.find(&message.parent_file(), message.path()).unwrap_or_else(|| words(message.name()))
    }

    /// The comment of a field.
    pub(super) fn of_field(&mut self, field: &FieldDescriptor) -> String {
        self.find(&field.parent_file(), field.path()).unwrap_or_else(|| words(field.name()))
    }

    /// The comment of an enum and what its values mean.
    pub(super) fn of_enum(&mut self, kind: &EnumDescriptor) -> String {
        let file = kind.parent_file();
        let mut text = self.find(&file, kind.path()).unwrap_or_else(|| words(kind.name()));
        for value in kind.values() {
            if let Some(comment) = self.find(&file, value.path()) {
                text.push_str(&format!("\n\n`{}`: {comment}", value.name()));
            }
        }
        text
    }

    fn find(&mut self, file: &FileDescriptor, path: &[i32]) -> Option<String> {
        let identity = std::ptr::from_ref(file.file_descriptor_proto()) as usize;
        let key = (identity, file.name().to_owned());
        self.files.entry(key).or_insert_with(|| index(file)).get(path).cloned()
    }
}

fn index(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.map(|info| info.location.as_slice()).unwrap_or_default();
    locations
        .iter()
        .filter_map(|location| {
            let text =
                location.leading_comments.as_deref().or(location.trailing_comments.as_deref());
            let text = unwrap_lines(text?);
            (!text.is_empty()).then(|| (location.path.clone(), text))
        })
        .collect()
}

/// Joins the lines of a paragraph: their breaks are the source's, not the text's.
fn unwrap_lines(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        paragraph
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    paragraphs.filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// A name as words, where there is no comment.
fn words(name: &str) -> String {
    let mut words = String::new();
    for (index, character) in name.chars().enumerate() {
        if character == '_' {
            words.push(' ');
        } else if character.is_uppercase() && index > 0 {
            words.push(' ');
            words.extend(character.to_lowercase());
        } else {
            words.push(character);
        }
    }
    words
}
