//! The life of one connection: handshake, requests, and an end that nobody can hold up.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::activity::{Activity, Connection, InFlight};
use super::app::App;
use super::framing::Framed;
use super::listener::State;
use super::socket::{Look, Socket};
use crate::kernel::settings::ServerLimits;
use crate::kernel::tls::{self, ServerTls};

/// How long a draining connection may stay without a request before it is dropped. Long enough for
/// the last bytes of a reply and for the client to see the GOAWAY.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// How long a connection that was opened just before the drain may take to send its first request:
/// the client could not know.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(300);
/// A connection without a request for so long is told to go.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// A silent HTTP/2 client is asked for a sign of life this often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// The connection is given up when no sign comes within this time.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at the same time on one HTTP/2 connection: the mesh has one connection per pair.
const MAX_CONCURRENT_STREAMS: u32 = 1000;
/// hyper's lower bound for the buffer of an HTTP/1.1 connection.
const MIN_HTTP1_BUFFER_BYTES: usize = 8192;
/// HTTP/2 flow-control windows that do not slow down a request of a megabyte.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// Who is at the other end of a connection; an extension of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address the connection comes from.
    pub address: SocketAddr,
    /// The identity that the peer's certificate states; `None` without mTLS.
    pub identity: Option<Arc<str>>,
    /// Whether the connection is TLS.
    pub is_encrypted: bool,
}

/// How what outlives its request, as an upgraded connection does, learns that the listener ends; an
/// extension of every request. [`Serving::drain`](super::Serving::drain) waits until the last clone is
/// dropped.
#[derive(Clone, Debug)]
pub struct Ending(Arc<Tokens>);

/// One for a connection: a token counts its clones under a lock of its own.
#[derive(Debug)]
struct Tokens {
    draining: CancellationToken,
    closing: CancellationToken,
    aborted: CancellationToken,
    _task: TaskTrackerToken,
}

impl Ending {
    /// Waits until the listener drains: what is under way is to come to its end.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Waits until the listener is about to cut off what has not ended: there is time for a last word.
    pub async fn closing(&self) {
        self.0.closing.cancelled().await;
    }

    /// Waits until the listener cuts off what has not ended.
    pub async fn aborted(&self) {
        self.0.aborted.cancelled().await;
    }
}

/// What CONNECT opens over HTTP/2 lives on a connection that others share; as long as a clone of this
/// is there, the connection is not taken for idle. An extension of such requests.
#[derive(Clone, Debug)]
pub struct Open {
    _guard: Arc<InFlight>,
}

impl State {
    fn ending(&self) -> Ending {
        Ending(Arc::new(Tokens {
            draining: self.draining.clone(),
            closing: self.closing.clone(),
            aborted: self.aborted.clone(),
            _task: self.tasks.token(),
        }))
    }
}

/// What every connection of a listener is served with.
pub(super) struct Acceptance {
    pub(super) tls: Option<ServerTls>,
    /// Whether it serves the world, which has no certificates of the mesh.
    pub(super) is_for_anyone: bool,
    pub(super) limits: ServerLimits,
    pub(super) app: App,
    pub(super) state: Arc<State>,
}

/// Why a connection ends while its client would stay.
enum End {
    /// It is over at once.
    Now,
    /// What is under way is answered first.
    InOrder,
}

/// Serves a connection until it ends or is to end.
pub(super) async fn serve(tcp: TcpStream, address: SocketAddr, acceptance: Arc<Acceptance>) {
    let (socket, look) = Socket::new(tcp);
    let Some(tls) = acceptance.tls.as_ref().map(ServerTls::acceptor) else {
        let peer = Peer { address, identity: None, is_encrypted: false };
        return requests(socket, look, peer, acceptance).await;
    };
    let accepted = tokio::select! {
        () = acceptance.state.aborted.cancelled() => return,
        () = acceptance.state.draining.cancelled() => return,
        accepted = tokio::time::timeout(acceptance.limits.handshake_timeout, tls.accept(socket)) => {
            accepted
        }
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "TLS handshake took too long"),
    };
    if acceptance.is_for_anyone {
        let peer = Peer { address, identity: None, is_encrypted: true };
        return requests(stream, look, peer, acceptance).await;
    }
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let Some(identity) = tls::peer_identity(chain) else {
        return tracing::warn!(%address, "refused a certificate that names no identity");
    };
    let peer = Peer { address, identity: Some(identity.into()), is_encrypted: true };
    requests(stream, look, peer, acceptance).await;
}

async fn requests<I>(io: I, look: Look, peer: Peer, acceptance: Arc<Acceptance>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = Arc::clone(&acceptance.state);
    let ending = state.ending();
    let shared = Arc::new(Connection { activity: Activity::new(), state });
    let service = service_fn(|mut request: Request<Incoming>| {
        let guard = InFlight::start(&shared);
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(ending.clone());
        if *request.method() == Method::CONNECT {
            let open = Open { _guard: Arc::new(InFlight::start(&shared)) };
            request.extensions_mut().insert(open);
        }
        let is_http1 = request.version() < Version::HTTP_2;
        let reply = acceptance.app.answer(request.map(Body::new));
        async move {
            let mut response = reply.await;
            if is_http1 && guard.is_last() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(guard.until_sent(response))
        }
    });
    let builder = builder(&acceptance);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(Framed::new(io)), service);
    let mut connection = std::pin::pin!(connection);
    let Connection { activity, state } = &*shared;
    let draining = async {
        state.draining.cancelled().await;
        activity.begun(FIRST_REQUEST_GRACE).await;
    };
    let looking = look.whenever(|| activity.is_busy());
    // Each is looked at when it is woken, and not with every request: their locks are everybody's.
    let mut ends = FuturesUnordered::from_iter([
        state.aborted.cancelled().map(|()| End::Now).boxed(),
        activity.silent(acceptance.limits.header_read_timeout).map(|()| End::Now).boxed(),
        activity.quiet(IDLE_TIMEOUT).map(|()| End::InOrder).boxed(),
        draining.map(|()| End::InOrder).boxed(),
        looking.map(|never| match never {}).boxed(),
    ]);
    tokio::select! {
        biased;
        // Errors are the client's: it broke off, or spoke no HTTP.
        _ = connection.as_mut() => return,
        end = ends.next() => if matches!(end, Some(End::Now)) { return },
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        () = state.aborted.cancelled() => {}
        _ = connection.as_mut() => {}
        () = activity.quiet(DRAIN_GRACE) => {}
    }
}

fn builder(acceptance: &Acceptance) -> auto::Builder<TokioExecutor> {
    let limits = &acceptance.limits;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_buf_size(MIN_HTTP1_BUFFER_BYTES.max(limits.max_header_bytes as usize));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_header_list_size(limits.max_header_bytes)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    if acceptance.is_for_anyone {
        // WebSockets over HTTP/2 (RFC 8441).
        builder.http2().enable_connect_protocol();
    }
    builder
}
