//! Which address a request comes from.
//!
//! `X-Forwarded-For` is a list to which every proxy appends whom it heard from; only the entries
//! that our own proxies added can be believed. With `trusted_hops` proxies of ours, that is the
//! entry so far from the end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName};
use mainstay::kernel::server::Peer;
use tower_governor::GovernorError;
use tower_governor::key_extractor::KeyExtractor;

use super::Edge;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address, an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientIp(pub(crate) IpAddr);

/// Finds the client's address.
pub(crate) async fn find<F: Future<Output = Response>>(
    edge: &Edge,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let client = forwarded(request.headers(), edge.settings.trusted_hops).unwrap_or(peer);
    request.extensions_mut().insert(ClientIp(client.to_canonical()));
    next(request).await
}

impl ClientIp {
    /// The address of a request that passed [`find`].
    pub(crate) fn of<T>(request: &http::Request<T>) -> Self {
        let found = request.extensions().get().copied();
        found.unwrap_or(Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// What limits count by: an IPv4 address, or an IPv6 /64, since whoever has one address of
    /// such a network has them all.
    pub(crate) fn network(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(network.into())
            }
        }
    }
}

/// Gives tower_governor the client's address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByClientIp;

impl KeyExtractor for ByClientIp {
    type Key = IpAddr;

    fn extract<T>(&self, request: &http::Request<T>) -> Result<IpAddr, GovernorError> {
        Ok(ClientIp::of(request).network())
    }
}

pub(crate) fn forwarded(headers: &HeaderMap, trusted_hops: usize) -> Option<IpAddr> {
    let lines = headers.get_all(&X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let entries: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let index = entries.len().saturating_sub(trusted_hops.max(1));
    let entry = entries.get(index).filter(|_| trusted_hops > 0)?;
    address(entry)
}

/// An address with or without port and brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_start_matches('[').split(']').next().unwrap_or(entry);
    bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_our_own_proxies_are_believed() {
        let rows = [
            (0, &["1.1.1.1"][..], None),
            (1, &["6.6.6.6, 1.1.1.1"], Some("1.1.1.1")),
            (1, &["6.6.6.6", "1.1.1.1"], Some("1.1.1.1")),
            (2, &["6.6.6.6, 1.1.1.1, 10.0.0.1"], Some("1.1.1.1")),
            (3, &["1.1.1.1, 10.0.0.1"], Some("1.1.1.1")),
            (1, &["1.1.1.1:4711"], Some("1.1.1.1")),
            (1, &["[2001:db8::1]:4711"], Some("2001:db8::1")),
            (1, &["nonsense"], None),
            (1, &[], None),
        ];
        for (hops, lines, expected) in rows {
            let lines = lines.iter().map(|line| HeaderValue::from_str(line).unwrap());
            let headers: HeaderMap = lines.map(|line| (X_FORWARDED_FOR, line)).collect();
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(forwarded(&headers, hops), expected, "{hops} {headers:?}");
        }
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let network = |text: &str| ClientIp(text.parse().unwrap()).network();
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2:5::6"));
        assert_ne!(network("2001:db8:1:2::4"), network("2001:db8:1:3::4"));
        assert_ne!(network("1.1.1.1"), network("1.1.1.2"));
    }
}
