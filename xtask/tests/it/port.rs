//! Whether a port can be had.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Whether nobody listens on a port of the loopback.
///
/// It is asked by a connection. A listener opened to find out would be copied into whatever process another
/// story starts in that moment, and hold the port there until that process runs its own program.
pub(crate) fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1))
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
