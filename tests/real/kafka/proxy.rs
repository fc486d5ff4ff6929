//! A TCP proxy in front of Kafka that can stall or be gone, as a network can.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// Passes them on.
    Sound,
    /// Keeps connections open, and every byte to itself.
    Stalled,
    /// Closes connections.
    Gone,
}

pub(super) struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy in front of `broker`, of the form `127.0.0.1:port`.
    pub(super) async fn start(broker: &str, network: Network) -> Self {
        let broker: SocketAddr = broker.parse().expect("the cluster is on a loopback address");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = watch::Sender::new(network);
        let accepting = tokio::spawn(accept(listener, broker, address, network.subscribe()));
        Self { address, network, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// What takes the place of the cluster's address.
    pub(super) fn brokers(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn accept(
    listener: TcpListener,
    broker: SocketAddr,
    own: SocketAddr,
    network: watch::Receiver<Network>,
) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if *network.borrow() == Network::Gone {
            continue;
        }
        let Ok(server) = TcpStream::connect(broker).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        tokio::spawn(pump(from_client, to_server, network.clone(), |_| {}));
        let hide = move |bytes: &mut [u8]| hide(bytes, broker, own);
        tokio::spawn(pump(from_server, to_client, network.clone(), hide));
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    change: impl Fn(&mut [u8]),
) {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = network.wait_for(|network| *network == Network::Gone) => return,
        };
        let Ok(count @ 1..) = read else { return };
        let passing = network.wait_for(|network| *network != Network::Stalled).await;
        if passing.is_ok_and(|network| *network == Network::Gone) {
            return;
        }
        change(&mut buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Kafka tells its clients where its brokers are: the host as text, the port as four bytes behind it.
/// The proxy puts its own port there, or they would go past it.
fn hide(bytes: &mut [u8], broker: SocketAddr, own: SocketAddr) {
    let host = broker.ip().to_string();
    let port = u32::from(broker.port()).to_be_bytes();
    let told = [host.as_bytes(), &port].concat();
    let places: Vec<_> =
        bytes.windows(told.len()).enumerate().filter(|(_, window)| *window == told).collect();
    let places: Vec<_> = places.into_iter().map(|(place, _)| place + host.len()).collect();
    for place in places {
        bytes[place..place + 4].copy_from_slice(&u32::from(own.port()).to_be_bytes());
    }
}
