//! The explorer: one HTML page with everything in it, so that it works offline.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

const PAGE: &str = include_str!("docs/explorer.html");

/// The page and the policy under which browsers run it.
pub(crate) struct Explorer {
    security_policy: HeaderValue,
}

impl Explorer {
    /// Only the page's own script and style may run, and it may talk to this gateway alone.
    pub(crate) fn new() -> Self {
        let (script, style) = (hash_of("script"), hash_of("style"));
        let policy = format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let security_policy =
            HeaderValue::from_str(&policy).expect("hashes in base64 are printable ASCII");
        Self { security_policy }
    }

    /// The page.
    pub(crate) fn page(&self) -> Bytes {
        Bytes::from_static(PAGE.as_bytes())
    }

    /// `Content-Security-Policy`.
    pub(crate) fn security_policy(&self) -> HeaderValue {
        self.security_policy.clone()
    }
}

/// The hash source (CSP level 3, section 2.3.1) of the page's one element of that name.
fn hash_of(element: &str) -> String {
    let content = PAGE
        .split_once(&format!("<{element}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{element}>")))
        .map_or("", |(content, _)| content);
    format!("sha256-{}", STANDARD.encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(outside), "the page refers to {outside}");
        }
        assert_eq!(PAGE.matches("<script>").count(), 1);
        assert_eq!(PAGE.matches("<style>").count(), 1);
    }
}
