//! Which state of a resource a change is for (RFC 9110, sections 8.8.3 and 13.1.1; AIP-154).
//!
//! A service tells the state of a resource by an etag: a text that is another after each change. Callers get it in
//! the resource, and from the gateway as a weak validator, because the same state comes in other bytes with
//! another request id or coding. They may send back either, so tags are compared by what stands in their
//! quotes, although the standard has no weak one match: it is about bytes there, and about the state here.

use tonic::metadata::MetadataMap;

use crate::kernel::error::{Error, Result};

const IF_MATCH: &str = "if-match";

/// The states that a caller lets a change begin from; any, unless it names some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// What the `if-match` of a call names. `INVALID_ARGUMENT` if that is no list of etags.
    pub fn of(metadata: &MetadataMap) -> Result<Self> {
        let mut tags = Vec::new();
        for line in metadata.get_all(IF_MATCH) {
            let line = line.to_str().ok();
            let refused = || Error::invalid(IF_MATCH, "must be `*` or a list of etags");
            match line.and_then(self::tags).ok_or_else(refused)? {
                None => return Ok(Self::default()),
                Some(named) => tags.extend(named.into_iter().map(str::to_owned)),
            }
        }
        Ok(Self((!tags.is_empty()).then_some(tags)))
    }

    /// The same with the etag of a resource that was sent back in the `field`, where it is stated.
    /// `INVALID_ARGUMENT` if the header does not name it.
    pub fn and(self, field: &str, stated: &str) -> Result<Self> {
        match opaque(stated) {
            "" | "*" => Ok(self),
            etag if self.allows(etag) => Ok(Self(Some(vec![etag.to_owned()]))),
            _ => Err(Error::invalid(field, "differs from the header if-match")),
        }
    }

    /// Whether the change may begin from the state of this etag.
    pub fn allows(&self, etag: &str) -> bool {
        self.0.as_ref().is_none_or(|tags| tags.iter().any(|tag| tag == etag))
    }
}

/// The tags that a line names, some of which may lack their quotes; `Some(None)` for `*`, any.
fn tags(line: &str) -> Option<Option<Vec<&str>>> {
    let mut tags = Vec::new();
    let mut rest = line.trim();
    if rest == "*" {
        return Some(None);
    }
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if rest.is_empty() {
            return Some(Some(tags));
        }
        let bare = rest.strip_prefix("W/").unwrap_or(rest);
        let (tag, after) = match bare.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => bare.split_at(bare.find(',').unwrap_or(bare.len())),
        };
        let tag = tag.trim_end();
        // Something between two tags, or a quote within one.
        if !after.trim_start().is_empty() && !after.trim_start().starts_with(',')
            || tag.contains('"')
        {
            return None;
        }
        tags.push(tag);
        rest = after;
    }
}

/// An etag without what may stand around it: `W/`, and its quotes.
pub fn opaque(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;
    use crate::kernel::error::INVALID_ARGUMENT;

    fn read(lines: &[&str]) -> Result<IfMatch> {
        let mut metadata = MetadataMap::new();
        for line in lines {
            metadata.append(IF_MATCH, line.parse().unwrap());
        }
        IfMatch::of(&metadata)
    }

    #[test]
    fn an_etag_is_known_in_every_spelling() {
        let rows = [
            (&["\"v1\""][..], true),
            (&["W/\"v1\""], true),
            (&["v1"], true),
            (&["\"v0\", W/\"v1\""], true),
            (&["\"v0\"", "\"v1\" ,"], true),
            (&["v0,v1"], true),
            (&["*"], true),
            (&["\"v0\"", "*"], true),
            (&[], true),
            (&[""], true),
            (&["\"v0\""], false),
            (&["\"v0,v1\""], false),
            (&["\"V1\""], false),
            (&["\"\""], false),
        ];
        for (lines, allowed) in rows {
            assert_eq!(read(lines).unwrap().allows("v1"), allowed, "{lines:?}");
        }
        for line in ["\"v1", "\"v1\" \"v2\"", "v1\"", "\"v1\"x"] {
            assert!(read(&[line]).unwrap_err().is(&INVALID_ARGUMENT), "{line}");
        }
    }

    #[test]
    fn header_and_resource_must_not_differ() {
        let rows = [
            (&["\"v1\""][..], "v1", Some("v1")),
            (&["W/\"v1\""], "\"v1\"", Some("v1")),
            (&["\"v0\", \"v1\""], "v1", Some("v1")),
            (&[], "W/\"v1\"", Some("v1")),
            (&["*"], "v1", Some("v1")),
            (&["\"v0\""], "", Some("v0")),
            (&["\"v0\""], "v1", None),
        ];
        for (lines, stated, expected) in rows {
            let both = read(lines).unwrap().and("user.etag", stated);
            let expected = expected.map(|etag| IfMatch(Some(vec![etag.to_owned()])));
            assert_eq!(both.as_ref().ok(), expected.as_ref(), "{lines:?} {stated}");
            if let Err(error) = both {
                assert_eq!(error.violations()[0].field, "user.etag");
            }
        }
        assert_eq!(read(&[]).unwrap().and("user.etag", "").unwrap(), IfMatch::default());
    }
}
