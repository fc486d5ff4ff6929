//! The address of a server, as the command line states it.

use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use http::uri::Authority;

/// Where a server is, and whether it speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerAddress {
    /// Host and port.
    pub(super) authority: Authority,
    /// Whether the connection is TLS.
    pub(super) is_encrypted: bool,
}

impl FromStr for ServerAddress {
    type Err = anyhow::Error;

    /// `HOST:PORT` or `http://HOST:PORT` is plaintext, `https://HOST:PORT` is TLS.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (is_encrypted, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((other, _)) => bail!("`{other}` is not spoken: HOST:PORT or https://HOST:PORT"),
        };
        let mend = || format!("`{rest}` is no address: HOST:PORT or https://HOST:PORT");
        let authority: Authority = rest.parse().with_context(mend)?;
        ensure!(authority.port_u16().is_some(), "`{rest}` names no port: HOST:PORT");
        ensure!(!rest.contains('@'), mend());
        Ok(Self { authority, is_encrypted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_how() {
        let rows = [
            ("localhost:1", Some(("localhost:1", false))),
            ("http://localhost:1", Some(("localhost:1", false))),
            ("https://api.example.com:443", Some(("api.example.com:443", true))),
            ("https://[::1]:1", Some(("[::1]:1", true))),
            ("localhost", None),
            ("https://localhost", None),
            ("https://localhost:1/path", None),
            ("https://user@localhost:1", None),
            ("ftp://localhost:1", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let read = text.parse::<ServerAddress>().ok();
            let read = read.as_ref().map(|read| (read.authority.as_str(), read.is_encrypted));
            assert_eq!(read, expected, "{text}");
        }
    }
}
