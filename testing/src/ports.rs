//! Ports for processes that are told where to listen.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Below those that systems give to whoever asks for any port, among them every connection that is made.
/// One of those would often be somebody else's before the process that is told it listens on it.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// How far apart runs begin whose process ids follow one another; it has no factor in common with the count.
const STRIDE: u32 = 1_009;

/// How many of this run's ports were looked at.
static LOOKED_AT: AtomicU16 = AtomicU16::new(0);

/// An address of the loopback that is free, and that no other story of this run is given.
///
/// # Panics
///
/// If there is none.
pub fn free_address() -> SocketAddr {
    let begin = std::process::id().wrapping_mul(STRIDE) % u32::from(COUNT);
    let free = (0..COUNT).find_map(|_| {
        let number = u32::from(LOOKED_AT.fetch_add(1, Ordering::Relaxed)) + begin;
        let port = FIRST + u16::try_from(number % u32::from(COUNT)).expect("less than the count");
        is_free(port).then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    });
    free.expect("the machine has free ports")
}

/// Whether nobody listens on a port of the loopback.
///
/// It is asked by a connection. A listener opened to find out would be copied into whatever process another
/// story starts in that moment, and hold the port there until that process runs its own program.
fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1))
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
