//! Cursors: the contract's page tokens, signed for one list and one caller.
//!
//! A cursor is base64url of a version, an HMAC-SHA256 and the page token. The signature spans the
//! method, the caller and every other part of the query but the page size, so that a cursor
//! works only where it was issued. The token inside is not secret: it is the key of the last item
//! that the caller was shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use mainstay::kernel::error::{Error, Result};
use sha2::Sha256;

use crate::error::INVALID_CURSOR;
use crate::transcode::query::CURSOR;

const VERSION: u8 = 1;
const TAG_LENGTH: usize = 32;
/// Parameter that may change from page to page.
const PAGE_SIZE: [&str; 2] = ["page_size", "pageSize"];

/// Signs and verifies cursors.
#[derive(Clone)]
pub(crate) struct CursorSigner {
    mac: Hmac<Sha256>,
}

/// The list that a cursor belongs to.
pub(crate) struct Listing<'a> {
    /// The gRPC method.
    pub(crate) method: &'a str,
    /// Id of the user who asks; empty without one.
    pub(crate) caller: &'a str,
    /// What the path says.
    pub(crate) path: Vec<(String, String)>,
    /// What the query says, without the cursor.
    pub(crate) parameters: Vec<(String, String)>,
}

impl CursorSigner {
    /// A signer with a key of any length; 32 random bytes are right.
    pub(crate) fn new(key: &[u8]) -> Self {
        Self { mac: Hmac::new_from_slice(key).expect("HMAC takes keys of any length") }
    }

    /// The cursor for a page token.
    pub(crate) fn sign(&self, listing: &Listing<'_>, page_token: &str) -> String {
        let tag = self.tag(listing, page_token).finalize().into_bytes();
        let mut bytes = Vec::with_capacity(1 + TAG_LENGTH + page_token.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&tag);
        bytes.extend_from_slice(page_token.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The page token of a cursor that was issued for this list, or `INVALID_CURSOR`.
    pub(crate) fn verify(&self, listing: &Listing<'_>, cursor: &str) -> Result<String> {
        self.read(listing, cursor).ok_or_else(|| {
            let reason = "is not a cursor of this list; begin again without one";
            Error::new(INVALID_CURSOR, format!("{CURSOR}: {reason}")).field(CURSOR, reason)
        })
    }

    fn read(&self, listing: &Listing<'_>, cursor: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (tag, token) = rest.split_at_checked(TAG_LENGTH)?;
        let token = std::str::from_utf8(token).ok()?;
        let signed = self.tag(listing, token).verify_slice(tag).is_ok();
        (*version == VERSION && signed).then(|| token.to_owned())
    }

    fn tag(&self, listing: &Listing<'_>, page_token: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&[VERSION]);
        for part in [listing.method, listing.caller, page_token] {
            feed(&mut mac, part);
        }
        let mut pairs: Vec<&(String, String)> = listing.path.iter().collect();
        let mut query: Vec<&(String, String)> = listing
            .parameters
            .iter()
            .filter(|(name, _)| !PAGE_SIZE.contains(&name.as_str()))
            .collect();
        query.sort();
        feed(&mut mac, &pairs.len().to_string());
        pairs.append(&mut query);
        for (name, value) in pairs {
            feed(&mut mac, name);
            feed(&mut mac, value);
        }
        mac
    }
}

/// Every part is preceded by its length: parts cannot run into each other.
fn feed(mac: &mut Hmac<Sha256>, part: &str) {
    mac.update(&(part.len() as u64).to_be_bytes());
    mac.update(part.as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    fn listing<'a>(method: &'a str, caller: &'a str, query: &[(&str, &str)]) -> Listing<'a> {
        let parameters =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Listing { method, caller, path: Vec::new(), parameters }
    }

    #[test]
    fn a_cursor_works_for_its_own_list_alone() {
        let signer = CursorSigner::new(b"key");
        let issued = listing("/a/List", "u1", &[("state", "ACTIVE"), ("page_size", "2")]);
        let cursor = signer.sign(&issued, "token");
        assert_eq!(signer.verify(&issued, &cursor).unwrap(), "token");
        let other_size = listing("/a/List", "u1", &[("page_size", "50"), ("state", "ACTIVE")]);
        assert_eq!(signer.verify(&other_size, &cursor).unwrap(), "token");
        for other in [
            listing("/b/List", "u1", &[("state", "ACTIVE")]),
            listing("/a/List", "u2", &[("state", "ACTIVE")]),
            listing("/a/List", "u1", &[("state", "DONE")]),
            listing("/a/List", "u1", &[]),
        ] {
            assert!(signer.verify(&other, &cursor).is_err());
        }
        assert!(CursorSigner::new(b"other").verify(&issued, &cursor).is_err());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let signer = CursorSigner::new(b"key");
        let issued = listing("/a/List", "", &[]);
        let bytes = URL_SAFE_NO_PAD.decode(signer.sign(&issued, "token")).unwrap();
        for index in 0..bytes.len() {
            let mut tampered = bytes.clone();
            tampered[index] ^= 1;
            let error = signer.verify(&issued, &URL_SAFE_NO_PAD.encode(tampered)).unwrap_err();
            assert!(error.is(&INVALID_CURSOR));
            assert_eq!(error.violations()[0].field, "cursor");
        }
        for garbage in ["", "!", "AAAA", "x"] {
            assert!(signer.verify(&issued, garbage).is_err(), "{garbage}");
        }
    }
}
