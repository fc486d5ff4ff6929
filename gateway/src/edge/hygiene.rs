//! Requests that two servers could read in two ways are refused before anything else.
//!
//! One with both `Content-Length` and `Transfer-Encoding` does not come as far as here: the listener has it
//! refused ([`mainstay::kernel::server`]), for hyper passes on only one of the two.

use std::net::Ipv6Addr;

use axum::extract::Request;
use axum::response::Response;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Version};
use mainstay::kernel::error::{Error, INVALID_ARGUMENT, Result};
use mainstay::kernel::telemetry::metrics::RefusedBy;

use super::front::{self, Protocol};
use super::{Edge, request_id};
use crate::error::{UNSUPPORTED_MEDIA_TYPE, URI_TOO_LONG};

/// Refuses an overlong address, a host that is none or not one (RFC 9112, section 3.2; RFC 9113, section
/// 8.3.1), and a transfer encoding other than `chunked` (RFC 9112, section 6.1). The reply is in the
/// caller's own protocol, and the last one on a connection of HTTP/1: where its next request begins, the
/// two ends may see differently.
#[allow(clippy::result_large_err)] // replies are as large as they are
pub(super) fn check(edge: &Edge, request: &Request) -> std::result::Result<(), Response> {
    let checked = check_length(request, edge.settings.uri_max_bytes)
        .and_then(|()| check_host(request))
        .and_then(|()| check_transfer_encoding(request.headers()));
    checked.map_err(|error| {
        edge.metrics.rejected(RefusedBy::Route, &error);
        let protocol = request.extensions().get().copied().unwrap_or(Protocol::Rest);
        let mut response = front::refuse(protocol, &error, &request_id::current());
        if request.version() < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    })
}

fn check_length(request: &Request, uri_max_bytes: usize) -> Result<()> {
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > uri_max_bytes {
        let message = format!("path and query are longer than {uri_max_bytes} bytes");
        return Err(Error::new(URI_TOO_LONG, message));
    }
    Ok(())
}

fn check_host(request: &Request) -> Result<()> {
    let refused = |message: &str| Err(Error::new(INVALID_ARGUMENT, message));
    let mut hosts = request.headers().get_all(HOST).iter().map(HeaderValue::as_bytes);
    let (host, authority) = (hosts.next(), request.uri().authority());
    if hosts.next().is_some() || (host.is_none() && request.version() == Version::HTTP_11) {
        return refused("a request has exactly one Host");
    }
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    if !host.into_iter().chain(authority).all(is_host) {
        return refused("Host is to be a name or an address, and a port if need be");
    }
    // An absolute address in HTTP/1.1 counts instead of Host (RFC 9112, section 3.2.2).
    let two = host.zip(authority).filter(|_| request.version() >= Version::HTTP_2);
    if two.is_some_and(|(host, authority)| !host.eq_ignore_ascii_case(authority)) {
        return refused("Host is to be the same as :authority");
    }
    Ok(())
}

fn check_transfer_encoding(headers: &HeaderMap) -> Result<()> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    let Some(first) = encodings.next() else { return Ok(()) };
    match first.trim_ascii().eq_ignore_ascii_case(b"chunked") && encodings.next().is_none() {
        true => Ok(()),
        false => Err(Error::new(INVALID_ARGUMENT, "Transfer-Encoding is to be `chunked`, once")),
    }
}

/// Whether this is `uri-host [":" port]` (RFC 9110, section 7.2). It is never empty, since addresses of http
/// always have a host (section 4.2.1). A comma is none of it, although a name may have one (RFC 3986, section
/// 3.2.2): it is what a proxy joins two headers with.
fn is_host(value: &[u8]) -> bool {
    let (host, rest) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b']').unwrap_or(rest.len());
            let (address, rest) = rest.split_at(end);
            let is_address =
                str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
            (is_address, rest.get(1..).unwrap_or(b"?"))
        }
        None => {
            let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
            let (name, rest) = value.split_at(end);
            (is_name(name), rest)
        }
    };
    host && match rest.split_first() {
        Some((b':', port)) => is_port(port),
        Some(_) => false,
        None => true,
    }
}

/// The escapes of a name are left as they are: nothing is looked up by it.
fn is_name(name: &[u8]) -> bool {
    let may_stand = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    !name.is_empty() && name.iter().all(may_stand)
}

/// A port may be left out behind its colon (RFC 3986, section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    let text = str::from_utf8(port).unwrap_or("?");
    text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Refuses a body in an encoding (RFC 9110, sections 8.4 and 15.5.16): a few bytes of it could be a
/// great many, and what is sent here is small. The reply says which encoding is accepted.
pub(super) fn check_encoding(headers: &HeaderMap, reply: &mut HeaderMap) -> Result<()> {
    let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(is_identity) {
        return Ok(());
    }
    reply.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Err(Error::new(UNSUPPORTED_MEDIA_TYPE, "the body is to come in no Content-Encoding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port_if_need_be() {
        let hosts = [
            "localhost",
            "API.example.com",
            "a_b.svc.cluster.local:8080",
            "10.0.0.1:1",
            "[::1]",
            "[2001:db8::1]:65535",
            "example.com:",
            "x%20y",
        ];
        let others = [
            "",
            ":80",
            "a b",
            "a/b",
            "a,b",
            "user@a",
            "user:pass@a",
            "a:b",
            "a:+1",
            "a:65536",
            "a:1:2",
            "::1",
            "[::1",
            "[]",
            "[a]",
            "[::1]a",
            "[::1%25eth0]",
            "é",
            "a?b",
            "a#b",
            "a\\b",
        ];
        for (value, expected) in
            hosts.map(|host| (host, true)).into_iter().chain(others.map(|host| (host, false)))
        {
            assert_eq!(is_host(value.as_bytes()), expected, "{value}");
        }
    }
}
