//! The one thing a binding may be limited to.

use mainstay::kernel::{Error, Result};

/// The most bytes of a resource's name.
const MAX_BYTES: usize = 256;

/// Name of one resource, `<kind>/<id>`, such as `users/0190…`. It is compared as a whole: a binding
/// on `users/1` says nothing about `users/12` or `users/1/sessions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(String);

impl Resource {
    /// Reads a resource; `None` for the empty text, which stands for everything there is.
    pub fn parse(field: &str, text: &str) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let named = text.split_once('/').is_some_and(|(kind, id)| is_kind(kind) && !id.is_empty());
        let printable = !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if named && printable && text.len() <= MAX_BYTES {
            return Ok(Some(Self(text.to_owned())));
        }
        Err(Error::invalid(field, "must be empty or of the form <kind>/<id>, such as users/0190…"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_kind(kind: &str) -> bool {
    kind.starts_with(|first: char| first.is_ascii_lowercase())
        && kind.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use super::*;

    #[test]
    fn a_resource_is_a_kind_and_an_id_or_nothing() {
        assert_eq!(Resource::parse("resource", "").unwrap(), None);
        for text in ["users/1", "role-bindings/0190", "documents/a/b"] {
            let resource = Resource::parse("resource", text).unwrap().unwrap();
            assert_eq!(resource.as_str(), text);
        }
        for text in ["users", "users/", "/1", "Users/1", "users/a b", "users/\n", "*"] {
            assert!(Resource::parse("resource", text).is_err(), "{text:?} was taken");
        }
        assert!(Resource::parse("resource", &format!("users/{}", "1".repeat(MAX_BYTES))).is_err());
    }
}
