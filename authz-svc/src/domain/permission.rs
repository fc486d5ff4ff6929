//! Permissions and the patterns by which roles hold them.
//!
//! A permission has three segments, `area.resource.verb`. A role may hold one by its name, or many
//! by a pattern that ends in `*`: `identity.users.*`, `identity.*`, `*`. A star stands for all that
//! follows, never for a part of a segment.

use mainstay::kernel::{Error, Result};

/// Segments of a permission: area, resource, verb.
const SEGMENTS: usize = 3;

/// The most bytes of a name or pattern.
const MAX_BYTES: usize = 128;

/// Name of one permission, such as `identity.users.read`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionName(String);

impl PermissionName {
    /// Reads a name, or answers `INVALID_ARGUMENT` naming the field.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let segments: Vec<&str> = text.split('.').collect();
        let sound = text.len() <= MAX_BYTES
            && segments.len() == SEGMENTS
            && segments.into_iter().all(is_segment);
        match sound {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::invalid(
                field,
                format!("{text:?} is not of the form area.resource.verb"),
            )),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a role holds: one permission, or all that begin alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionPattern(String);

impl PermissionPattern {
    /// Reads a pattern, or answers `INVALID_ARGUMENT` naming the field.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        if is_pattern(text) {
            return Ok(Self(text.to_owned()));
        }
        let expected = "area.resource.verb, area.resource.*, area.* or *";
        Err(Error::invalid(field, format!("{text:?} is not of the form {expected}")))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether holding the pattern is holding the permission.
    pub fn holds(&self, permission: &PermissionName) -> bool {
        self.reaches(&permission.0)
    }

    /// Whether everything that `other` holds is held by this pattern too.
    pub fn covers(&self, other: &PermissionPattern) -> bool {
        self.reaches(&other.0)
    }

    /// A pattern reaches what equals it and, with a star, what begins with the text before the star.
    /// That text ends in a dot (or is empty), so `a.*` reaches `a.b.c` and `a.b.*`, never `ab.c.d`.
    fn reaches(&self, text: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => text.starts_with(prefix),
            None => self.0 == text,
        }
    }
}

fn is_pattern(text: &str) -> bool {
    let mut segments: Vec<&str> = text.split('.').collect();
    let starred = segments.last() == Some(&"*");
    if starred {
        segments.pop();
    }
    let count_fits = if starred { segments.len() < SEGMENTS } else { segments.len() == SEGMENTS };
    text.len() <= MAX_BYTES && count_fits && segments.into_iter().all(is_segment)
}

/// A segment begins with a lower-case letter; digits, `_` and `-` may follow.
fn is_segment(segment: &str) -> bool {
    segment.starts_with(|first: char| first.is_ascii_lowercase())
        && segment.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use super::*;

    fn pattern(text: &str) -> PermissionPattern {
        PermissionPattern::parse("permissions", text).unwrap()
    }

    #[test]
    fn a_pattern_holds_what_follows_its_star_and_nothing_else() {
        let table = [
            ("*", "identity.users.read", true),
            ("identity.*", "identity.users.read", true),
            ("identity.users.*", "identity.users.read", true),
            ("identity.users.read", "identity.users.read", true),
            ("identity.users.read", "identity.users.list", false),
            ("identity.users.*", "identity.user.read", false),
            ("identity.users.*", "identity.users-x.read", false),
            ("identity.*", "identity-x.users.read", false),
            ("billing.*", "identity.users.read", false),
        ];
        for (held, asked, expected) in table {
            let asked = PermissionName::parse("permission", asked).unwrap();
            assert_eq!(pattern(held).holds(&asked), expected, "{held} holds {asked:?}");
        }
    }

    #[test]
    fn a_pattern_covers_only_what_is_no_wider_than_itself() {
        let table = [
            ("*", "*", true),
            ("*", "identity.*", true),
            ("identity.*", "identity.*", true),
            ("identity.*", "identity.users.*", true),
            ("identity.users.*", "identity.users.read", true),
            ("identity.*", "*", false),
            ("identity.users.*", "identity.*", false),
            ("identity.users.read", "identity.users.*", false),
        ];
        for (held, wanted, expected) in table {
            assert_eq!(pattern(held).covers(&pattern(wanted)), expected, "{held} covers {wanted}");
        }
    }

    #[test]
    fn malformed_permissions_are_refused() {
        let bad = [
            "",
            "identity",
            "identity.users",
            "a.b.c.d",
            "a.b.c.*",
            "a..c",
            "a.b.",
            ".b.c",
            "A.b.c",
            "a.b.c*",
            "a*.b.c",
            "*.b.c",
            "a.*.c",
            "**",
            "a b.c.d",
            "1a.b.c",
            "é.b.c",
        ];
        for text in bad {
            assert!(PermissionPattern::parse("permissions", text).is_err(), "{text:?} was taken");
            assert!(PermissionName::parse("permission", text).is_err(), "{text:?} was taken");
        }
        assert!(PermissionName::parse("permission", "a.b.*").is_err());
        let long = format!("a.b.{}", "c".repeat(MAX_BYTES));
        assert!(PermissionPattern::parse("permissions", &long).is_err());
    }
}
