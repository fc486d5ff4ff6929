//! The server behind every gateway: answers what is known beforehand, and notices a wrong request. It takes their
//! traces, too.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use super::cases::Case;

/// So many bytes of a stream are sent at once.
const WRITE_BYTES: usize = 16 * 1024;

/// Where exporters of traces call.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What is answered, by the path.
struct Answers {
    known: HashMap<&'static str, Answer>,
    /// Requests that were not what they had to be.
    wrong: AtomicU64,
    /// How often traces were sent.
    exports: AtomicU64,
}

struct Answer {
    case: Case,
    /// The frames, in pieces as they are written.
    pieces: Vec<Bytes>,
}

/// A backend that serves until the process ends.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    answers: Arc<Answers>,
}

impl Backend {
    /// Serves on a free port of the loopback interface.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let known = Case::ALL.map(|case| (case.grpc_path(), Answer { case, pieces: pieces(case) }));
        let (wrong, exports) = Default::default();
        let answers = Arc::new(Answers { known: known.into(), wrong, exports });
        tokio::spawn(accept(listener, Arc::clone(&answers)));
        Ok(Self { address, answers })
    }

    /// How many requests were not what they had to be.
    pub(super) fn wrong(&self) -> u64 {
        self.answers.wrong.load(Ordering::Relaxed)
    }

    /// How often traces were sent.
    pub(super) fn exports(&self) -> u64 {
        self.answers.exports.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, answers: Arc<Answers>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Not all kernels allow it, and then it is a little slower.
        let _ = stream.set_nodelay(true);
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&answers), request));
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().initial_stream_window_size(1 << 20);
            builder.http2().initial_connection_window_size(1 << 22);
            // A client that breaks off is no failure of the benchmark.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    answers: Arc<Answers>,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if head.uri.path() == EXPORT {
        answers.exports.fetch_add(1, Ordering::Relaxed);
        return Ok(reply(vec![framed(&[])]));
    }
    let Some(answer) = answers.known.get(head.uri.path()) else {
        return Ok(refused("12"));
    };
    let message = body.get(5..).unwrap_or_default();
    if !answer.case.is_request(message) {
        answers.wrong.fetch_add(1, Ordering::Relaxed);
        return Ok(refused("3"));
    }
    Ok(reply(answer.pieces.clone()))
}

fn reply(pieces: Vec<Bytes>) -> Response<Pieces> {
    let mut response = Response::new(Pieces { left: pieces, trailers: true });
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn refused(status: &'static str) -> Response<Pieces> {
    let mut response = Response::new(Pieces { left: Vec::new(), trailers: false });
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
    response
}

/// The frames of a reply, the last piece first.
fn pieces(case: Case) -> Vec<Bytes> {
    let (mut pieces, mut piece) = (Vec::new(), BytesMut::new());
    for message in case.replies() {
        piece.extend_from_slice(&framed(&message));
        if piece.len() >= WRITE_BYTES {
            pieces.push(piece.split().freeze());
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.freeze());
    }
    pieces.reverse();
    pieces
}

/// A message with its prefix of gRPC.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

/// A body that is there already, and `grpc-status: 0` behind it.
struct Pieces {
    left: Vec<Bytes>,
    trailers: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match self.left.pop() {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None if std::mem::take(&mut self.trailers) => {
                let status = HeaderValue::from_static("0");
                let name = http::HeaderName::from_static("grpc-status");
                Some(Ok(Frame::trailers(HeaderMap::from_iter([(name, status)]))))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && !self.trailers
    }
}
