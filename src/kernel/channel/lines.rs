//! The HTTP/2 connections to one instance over which whole messages travel.
//!
//! There are a few: what is written to a connection passes one lock, so threads that share one wait
//! for each other. A call goes over the connection of its own thread, and what many calls of a thread
//! write is sent together. Streams, which carry bodies that nobody has yet, go another way
//! ([`Transport`](transport::Transport)).

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong, RecvStream};
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt as _;

use super::connector::Connector;
use super::failure::Failure;
use super::message::PREFIX_BYTES;
use super::reply::Reply;
use super::transport::{
    self, FRAME_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MAX_REPLY_BYTES, MOST, WINDOW_BYTES,
};
use crate::kernel::cores;

/// The most bytes of headers in a reply.
const MAX_HEADER_BYTES: u32 = 64 * 1024;

/// The connections to one instance, opened when they are first used.
#[derive(Debug)]
pub(super) struct Lines(Vec<Line>);

#[derive(Debug, Default)]
struct Line {
    open: Mutex<Option<SendRequest<Bytes>>>,
    /// Held by who opens the connection.
    opening: tokio::sync::Mutex<()>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self(std::iter::repeat_with(Line::default).take(cores::count().min(MOST)).collect())
    }

    /// Sends a request with a whole body and reads the whole reply.
    pub(super) async fn send(
        &self,
        connector: &Connector,
        request: Request<()>,
        body: Bytes,
    ) -> Result<Reply, Failure> {
        let line = &self.0[cores::thread_number() % self.0.len()];
        let mut sender = line.sender(connector, request.uri()).await?;
        let (response, mut stream) = sender.send_request(request, false).map_err(unsent)?;
        stream.send_data(body, true).map_err(Failure::of_stream)?;
        read(response.await.map_err(Failure::of_stream)?).await
    }
}

impl Line {
    /// A handle that takes a request now. Opens the connection if there is none.
    async fn sender(
        &self,
        connector: &Connector,
        uri: &Uri,
    ) -> Result<SendRequest<Bytes>, Failure> {
        if let Some(sender) = self.ready().await {
            return Ok(sender);
        }
        let _turn = self.opening.lock().await;
        // Somebody else may have opened it meanwhile.
        if let Some(sender) = self.ready().await {
            return Ok(sender);
        }
        let sender = open(connector, uri).await.map_err(Failure::Unreachable)?;
        *self.slot() = Some(sender.clone());
        sender.ready().await.map_err(unsent)
    }

    async fn ready(&self) -> Option<SendRequest<Bytes>> {
        let sender = self.slot().clone()?;
        sender.ready().await.ok()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<Bytes>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(connector: &Connector, uri: &Uri) -> anyhow::Result<SendRequest<Bytes>> {
    let stream = connector.clone().oneshot(uri.clone()).await.map_err(anyhow::Error::from_boxed)?;
    let handshake = client::Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await?;
    tokio::spawn(drive(connection));
    Ok(sender)
}

/// Moves the bytes of a connection until it ends, or its other side is silent.
///
/// The runtime would run this right after the call that woke it, so each call would be written by
/// itself. It goes to the end of the queue first: what the tasks before it write is sent together.
async fn drive<I>(mut connection: client::Connection<I, Bytes>)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let ping = connection.ping_pong();
    let mut was_last = false;
    let connection = std::future::poll_fn(|context| {
        was_last = !was_last;
        if was_last {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut connection).poll(context)
    });
    let silent = async {
        match ping {
            Some(ping) => silence(ping).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Whose calls an error breaks off, those hear of it.
        _ = connection => {}
        () = silent => {}
    }
}

/// Ends when no sign of life comes from the other side.
async fn silence(mut ping: PingPong) {
    loop {
        tokio::time::sleep(KEEP_ALIVE_INTERVAL).await;
        let pong = tokio::time::timeout(KEEP_ALIVE_TIMEOUT, ping.ping(Ping::opaque())).await;
        if !matches!(pong, Ok(Ok(_))) {
            return;
        }
    }
}

async fn read(response: Response<RecvStream>) -> Result<Reply, Failure> {
    let (head, mut body) = response.into_parts();
    if let Some(status) = transport::status_of_http(&head) {
        return Ok(status.into());
    }
    let mut data = Bytes::new();
    let mut joined: Option<BytesMut> = None;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(Failure::of_stream)?;
        // Of a stream that was reset meanwhile, whose fault the next read tells.
        let _ = body.flow_control().release_capacity(chunk.len());
        let so_far = joined.as_ref().map_or(data.len(), BytesMut::len);
        if so_far + chunk.len() > MAX_REPLY_BYTES {
            return Ok(transport::too_large().into());
        }
        match &mut joined {
            Some(joined) => joined.extend_from_slice(&chunk),
            None if data.is_empty() => data = chunk,
            None => {
                let mut both = BytesMut::with_capacity(announced(&data).max(so_far + chunk.len()));
                both.extend_from_slice(&data);
                both.extend_from_slice(&chunk);
                joined = Some(both);
            }
        }
    }
    let trailers = body.trailers().await.map_err(Failure::of_stream)?.unwrap_or_default();
    transport::ended(head, joined.map_or(data, BytesMut::freeze), trailers)
}

/// How long the message says it is, its prefix included; at most what is accepted.
fn announced(mut data: &[u8]) -> usize {
    if data.len() < PREFIX_BYTES {
        return 0;
    }
    data.advance(1);
    (data.get_u32() as usize).saturating_add(PREFIX_BYTES).min(MAX_REPLY_BYTES)
}

/// A connection that takes no request any more: nobody has seen it.
fn unsent(error: h2::Error) -> Failure {
    Failure::Unsent(error.into())
}
