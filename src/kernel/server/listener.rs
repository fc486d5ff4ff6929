//! Accepting connections, and ending them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::app::App;
use super::connection::{self, Acceptance};
use crate::kernel::cores::Cores;
use crate::kernel::settings::ServerLimits;
use crate::kernel::tls::ServerTls;

/// The pause after the process has run out of file descriptors or memory for a connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How long before the deadline of a drain streams are told to end; of a short one a quarter.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a client whose connection is half open when a listener is to close has for its part of the handshake:
/// the time of a packet there and back.
const LAST_HANDSHAKES: Duration = Duration::from_millis(100);

/// The most connections that can wait for a listener that closes, so that a flood cannot hold it up.
const MOST_WAITING: usize = 1024;

/// A bound address that does not serve yet; clients that connect wait.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<ServerTls>,
    is_for_anyone: bool,
    cores: Option<Cores>,
    limits: ServerLimits,
}

/// A listener that serves. Dropped, it ends at once and cuts off what is in flight.
pub struct Serving {
    address: SocketAddr,
    state: Arc<State>,
}

/// What the accept loop and its connections share.
pub(super) struct State {
    /// The end is near: let HTTP/1.1 clients go with their next reply.
    pub(super) leaving: AtomicBool,
    /// Cancelled: no new connections, finish the old ones.
    pub(super) draining: CancellationToken,
    /// Cancelled: what still streams says its last words.
    pub(super) closing: CancellationToken,
    /// Cancelled: end now.
    pub(super) aborted: CancellationToken,
    /// Requests in flight over all connections.
    pub(super) in_flight: AtomicUsize,
    pub(super) tasks: TaskTracker,
    /// Where connections are served, unless on the runtime of the listener.
    cores: Option<Cores>,
    stopped_accepting: CancellationToken,
}

impl Listener {
    /// Binds an address; port 0 takes a free one. With `tls`, every connection is TLS, and its client
    /// shows an identity of the mesh, unless it is [for anyone](Self::for_anyone).
    pub async fn bind(
        address: SocketAddr,
        tls: Option<ServerTls>,
        limits: &ServerLimits,
    ) -> anyhow::Result<Self> {
        let tcp = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} (is the port in use by another process?)")
        })?;
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address, tls, is_for_anyone: false, cores: None, limits: limits.clone() })
    }

    /// The same listener for the world: who connects over TLS needs no certificate, and may open
    /// WebSockets over HTTP/2.
    pub fn for_anyone(mut self) -> Self {
        self.is_for_anyone = true;
        self
    }

    /// The same listener with its connections spread over threads of their own, one for each
    /// core: for what passes calls on, and computes little.
    pub fn on_own_cores(mut self) -> anyhow::Result<Self> {
        self.cores = Some(Cores::start()?);
        Ok(self)
    }

    /// The runtimes that are its own.
    pub(crate) fn own_runtimes(&self) -> Vec<Handle> {
        self.cores.iter().flat_map(Cores::runtimes).cloned().collect()
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts to serve an application: HTTP/1.1 and HTTP/2 alike. Requests carry a [`Peer`] and
    /// an [`Ending`] as extensions.
    ///
    /// [`Peer`]: super::Peer
    /// [`Ending`]: super::Ending
    pub fn serve(self, app: impl Into<App>) -> Serving {
        let state = Arc::new(State {
            leaving: AtomicBool::new(false),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            aborted: CancellationToken::new(),
            in_flight: AtomicUsize::new(0),
            tasks: TaskTracker::new(),
            cores: self.cores,
            stopped_accepting: CancellationToken::new(),
        });
        let acceptance = Arc::new(Acceptance {
            tls: self.tls,
            is_for_anyone: self.is_for_anyone,
            limits: self.limits,
            app: app.into(),
            state: Arc::clone(&state),
        });
        tokio::spawn(accept(self.tcp, acceptance));
        Serving { address: self.address, state }
    }
}

impl Serving {
    /// The address it serves on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::Relaxed)
    }

    /// Says that the end is near: replies over HTTP/1.1 carry `Connection: close` from now on. A
    /// client that keeps its connection busy thus leaves in good time, instead of sending a request
    /// into a connection that [`drain`](Self::drain) is about to close.
    pub fn leave(&self) {
        self.state.leaving.store(true, Ordering::Relaxed);
    }

    /// Ends in order: no new connections, `GOAWAY` and `Connection: close` on the old ones, then
    /// waits for the requests in flight, to the last byte of their replies. Connections on which
    /// nothing happens are dropped after a short grace. A moment before the `deadline`
    /// [`Ending::closing`](super::Ending::closing) lets what still streams say that it ends. What is
    /// not done by the deadline is cut off; the number of such requests is returned.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.state.leaving.store(true, Ordering::Relaxed);
        self.state.draining.cancel();
        let finished = async {
            self.state.stopped_accepting.cancelled().await;
            self.state.tasks.wait().await;
        };
        let last_words = LAST_WORDS.min(deadline / 4);
        let mut finished = std::pin::pin!(finished);
        if tokio::time::timeout(deadline - last_words, finished.as_mut()).await.is_ok() {
            return 0;
        }
        self.state.closing.cancel();
        if tokio::time::timeout(last_words, finished).await.is_ok() {
            return 0;
        }
        let cut_off = self.in_flight();
        self.state.aborted.cancel();
        self.state.tasks.wait().await;
        cut_off
    }

    /// Waits until no more connections are accepted, which without [`drain`](Self::drain) is a fault.
    pub async fn stopped(&self) {
        self.state.stopped_accepting.cancelled().await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.state.aborted.cancel();
    }
}

async fn accept(listener: TcpListener, acceptance: Arc<Acceptance>) {
    let state = Arc::clone(&acceptance.state);
    let _stopped = state.stopped_accepting.clone().drop_guard();
    let slots = Arc::new(Semaphore::new(acceptance.limits.max_connections));
    let open = |(tcp, address), slot: OwnedSemaphorePermit| {
        let acceptance = Arc::clone(&acceptance);
        let Some(cores) = &state.cores else {
            state.tasks.spawn(async move {
                connection::serve(tcp, address, acceptance).await;
                drop(slot);
            });
            return;
        };
        let seat = cores.seat();
        let runtime = seat.runtime.clone();
        let connection = async move {
            // A socket belongs to the runtime that it was made on.
            if let Ok(tcp) = TcpStream::into_std(tcp).and_then(TcpStream::from_std) {
                connection::serve(tcp, address, acceptance).await;
            }
            drop((seat, slot));
        };
        state.tasks.spawn_on(connection, &runtime);
    };
    let accepting = async || {
        // A client waits in the kernel's backlog while there is no slot.
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            open(next(&listener).await, slot);
        }
    };
    tokio::select! {
        () = state.draining.cancelled() => {}
        () = state.aborted.cancelled() => {}
        () = accepting() => {}
    }
    if turn_away(&listener) {
        tokio::select! {
            () = tokio::time::sleep(LAST_HANDSHAKES) => {}
            () = state.aborted.cancelled() => {}
            () = accepting() => {}
        }
    }
    // Who waits in the backlog has connected before the end, and closing would reset the connection.
    for accepted in waiting(listener) {
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            open(accepted, slot);
        }
    }
    state.tasks.close();
}

/// Closes a listener and returns the connections that nobody has accepted yet. Asks the system
/// itself: the runtime hears of a connection a moment later than the client.
fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let waiting: Vec<_> =
        std::iter::from_fn(|| listener.accept().ok()).take(MOST_WAITING).collect();
    drop(listener);
    waiting
        .into_iter()
        .filter_map(|(tcp, address)| {
            tcp.set_nonblocking(true).ok()?;
            Some((TcpStream::from_std(tcp).ok()?, address))
        })
        .collect()
}

/// Has the system begin no connection any more, and says whether it does. One that came between the last accepted
/// and the close would be reset, with a request that its client has sent already; now its client's system tries
/// again, and is refused. A handshake that has begun goes on.
#[cfg(target_os = "linux")]
fn turn_away(listener: &TcpListener) -> bool {
    // A packet filter (linux/bpf_common.h) of what comes from the header of TCP on (RFC 9293, section 3.1).
    let filter = [
        // BPF_LD | BPF_B | BPF_ABS: the byte of the flags,
        socket2::SockFilter::new(0x30, 0, 0, 13),
        // BPF_JMP | BPF_JSET | BPF_K: of which, without SYN, the next is left out.
        socket2::SockFilter::new(0x45, 0, 1, 0x02),
        // BPF_RET | BPF_K: no byte of the packet is kept, or all.
        socket2::SockFilter::new(0x06, 0, 0, 0),
        socket2::SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    socket2::SockRef::from(listener).attach_filter(&filter).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn turn_away(_listener: &TcpListener) -> bool {
    false
}

async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}
