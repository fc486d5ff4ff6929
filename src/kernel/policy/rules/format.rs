//! The well-known formats of strings.

use std::net::IpAddr;

/// A format that a string field can state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Email,
    Hostname,
    Ip,
    Uri,
    Uuid,
}

impl Format {
    pub(super) fn matches(self, text: &str) -> bool {
        match self {
            Self::Email => is_email(text),
            Self::Hostname => is_hostname(text),
            Self::Ip => text.parse::<IpAddr>().is_ok(),
            Self::Uri => is_uri(text),
            Self::Uuid => is_uuid(text),
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Email => "a valid e-mail address",
            Self::Hostname => "a valid host name",
            Self::Ip => "a valid IP address",
            Self::Uri => "a valid absolute URI",
            Self::Uuid => "a valid UUID",
        }
    }
}

/// The HTML standard's "valid email address" (section 4.10.5.1.5).
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_atom = |c: u8| c.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&c);
    !local.is_empty() && local.bytes().all(is_atom) && domain.split('.').all(is_label)
}

/// RFC 1034, section 3.5, with labels that may begin with a digit (RFC 1123, section 2.1). A name
/// that ends in a number would be an address.
fn is_hostname(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_number = |label: &str| label.bytes().all(|c| c.is_ascii_digit());
    name.len() <= 253
        && name.split('.').all(is_label)
        && name.rsplit('.').next().is_some_and(|last| !is_number(last))
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// RFC 9562, section 4, in either case.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(position, c)| match position {
            8 | 13 | 18 | 23 => c == b'-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// RFC 3986, section 3: scheme, then characters that a URI may have, each `%` followed by two
/// hexadecimal digits, brackets only around an IP literal, and one fragment at most.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    is_scheme
        && is_authority(authority)
        && path.matches('#').count() <= 1
        && is_escaped(path, b"-._~!$&'()*+,;=:@/?#")
}

fn is_authority(authority: &str) -> bool {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((literal, port)) => {
            if !matches!(literal.parse(), Ok(IpAddr::V6(_))) {
                return false;
            }
            ("", port)
        }
        None => host.split_at(host.rfind(':').unwrap_or(host.len())),
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    is_escaped(user, b"-._~!$&'()*+,;=:")
        && is_escaped(name, b"-._~!$&'()*+,;=")
        && port.bytes().all(|c| c.is_ascii_digit())
}

fn is_escaped(text: &str, allowed: &[u8]) -> bool {
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            (c, after) if c.is_ascii_alphanumeric() || allowed.contains(c) => after,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_accept_and_refuse() {
        let long_label = "a".repeat(64);
        let cases: [(Format, &[&str], &[&str]); 5] = [
            (
                Format::Email,
                &["a@b", "ada.lovelace+x@example.org", "o'neil@x-y.example", ".a.@b.c"],
                &[
                    "", "a", "@b", "a@", "a@-b", "a@b-.c", "a@b..c", "a b@c", "a@b@c", "ä@b",
                    "a@b\n",
                ],
            ),
            (
                Format::Hostname,
                &["localhost", "a.b.c", "1.example", "example.org."],
                &["", ".", "-a", "a-", "a..b", "10.0.0.1", "a_b", &long_label],
            ),
            (
                Format::Ip,
                &["127.0.0.1", "::1", "2001:db8::1"],
                &["", "127.0.0", "256.0.0.1", "01.2.3.4", "[::1]"],
            ),
            (
                Format::Uri,
                &[
                    "https://example.org/a?b=c#d",
                    "urn:isbn:0451450523",
                    "http://[::1]:80/%20",
                    "mailto:a@b",
                ],
                &[
                    "",
                    "/relative",
                    "example.org",
                    "1http://x",
                    "http://a b",
                    "http://x/%2",
                    "http://x/#a#b",
                    "http://[x]/",
                    "http://x:y/",
                    "http://ü/",
                ],
            ),
            (
                Format::Uuid,
                &["0190c2a4-5b1f-7c3a-9b1e-2f3a4b5c6d7e", "0190C2A4-5B1F-7C3A-9B1E-2F3A4B5C6D7E"],
                &[
                    "",
                    "0190c2a45b1f7c3a9b1e2f3a4b5c6d7e",
                    "0190c2a4-5b1f-7c3a-9b1e-2f3a4b5c6d7g",
                    "0190c2a4-5b1f-7c3a-9b1e-2f3a4b5c6d7e0",
                ],
            ),
        ];
        for (format, good, bad) in cases {
            for text in good {
                assert!(format.matches(text), "{text:?} is {}", format.description());
            }
            for text in bad {
                assert!(!format.matches(text), "{text:?} is not {}", format.description());
            }
        }
    }
}
