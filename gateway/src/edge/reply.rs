//! The reply of a service as it streams: its bytes and its status, or its messages one by one.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _};
use http::{HeaderMap, HeaderName};
use http_body::Body as _;
use mainstay::kernel::error::{DEADLINE_EXCEEDED, Error, Result};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};

use super::messages::{Deframer, Encoding, Fault};
use super::upstream::Streamed;
use crate::error;
use crate::route::Rpc;

/// The largest message of a reply.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What comes of a reply.
#[derive(Debug)]
pub(super) enum Part {
    /// Bytes, of messages with their prefixes.
    Data(Bytes),
    /// The end: the call succeeded. Its trailers.
    End(HeaderMap),
}

/// A reply until its status, or until its deadline. Dropping it cancels the call.
pub(super) struct Parts {
    rpc: Arc<Rpc>,
    body: Body,
    /// Whether the reply had its status before it began.
    ended: bool,
    deadline: Pin<Box<Sleep>>,
    /// What is wrong with the messages that the caller sends.
    fault: Fault,
    /// What ends the call before its time.
    cut: BoxFuture<'static, Error>,
}

impl Parts {
    /// The reply that began with `metadata`.
    pub(super) fn new(
        rpc: Arc<Rpc>,
        metadata: &HeaderMap,
        body: Body,
        deadline: Instant,
        fault: Fault,
        cut: BoxFuture<'static, Error>,
    ) -> Self {
        let ended = metadata.contains_key(Status::GRPC_STATUS);
        let deadline = Box::pin(tokio::time::sleep_until(deadline.into()));
        Self { rpc, body, ended, deadline, fault, cut }
    }

    /// What comes next. An error is how the call failed, and the last that comes.
    pub(super) fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Result<Part>> {
        if let Poll::Ready(error) = self.fault.poll(context) {
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(error) = self.cut.poll_unpin(context) {
            return Poll::Ready(Err(error));
        }
        if self.deadline.poll_unpin(context).is_ready() {
            return Poll::Ready(Err(self.late()));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                None if self.ended => return Poll::Ready(Ok(Part::End(HeaderMap::new()))),
                Some(Err(_)) | None => {
                    let fault = self.fault.found();
                    return Poll::Ready(Err(fault.unwrap_or_else(|| self.broken())));
                }
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Ok(Part::Data(data))),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(self.end(trailers));
                }
            }
        }
    }

    fn end(&self, trailers: HeaderMap) -> Result<Part> {
        match Status::from_header_map(&trailers) {
            Some(status) if status.code() == Code::Ok => Ok(Part::End(trailers)),
            Some(status) => {
                let error = error::from_upstream(&status, &self.rpc.service, None);
                Err(error.with_headers(&declared(&self.rpc, [&trailers])))
            }
            None => Err(self.broken()),
        }
    }

    fn late(&self) -> Error {
        let message = format!("{} did not answer in time", self.rpc.service);
        Error::new(DEADLINE_EXCEEDED, message)
    }

    fn broken(&self) -> Error {
        Error::unavailable(format!("{} broke off", self.rpc.service))
    }
}

/// The messages of a reply. After an error there are no more.
pub(super) struct Replies {
    source: Source,
    deframer: Deframer,
    late: HeaderMap,
    trailers: Option<HeaderMap>,
    failed: bool,
}

enum Source {
    /// A call that goes on as its messages are asked for.
    Pending(BoxFuture<'static, Result<Streamed>>),
    Begun(Parts),
}

impl Replies {
    /// The messages of these parts.
    pub(super) fn new(parts: Parts) -> Self {
        Self::of(Source::Begun(parts))
    }

    /// The messages of a reply that has yet to begin.
    pub(super) fn pending(call: BoxFuture<'static, Result<Streamed>>) -> Self {
        Self::of(Source::Pending(call))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            deframer: Deframer::new(MOST_BYTES, Encoding::Identity),
            late: HeaderMap::new(),
            trailers: None,
            failed: false,
        }
    }

    /// The metadata of a reply that had yet to begin, once it has.
    pub(super) fn late(&self) -> &HeaderMap {
        &self.late
    }

    /// The trailers, once the last message was taken.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The one message of a reply that is no stream.
    pub(super) async fn only(&mut self) -> Result<Bytes> {
        let message = self.next().await.transpose()?;
        match (message, self.next().await) {
            (Some(message), None) => Ok(message),
            (_, Some(Err(error))) => Err(error),
            _ => Err(Error::internal(anyhow::anyhow!("the reply is not exactly one message"))),
        }
    }

    /// Goes on to the next message, where it stands. As [`Stream::poll_next`] otherwise.
    pub(super) fn poll_advance(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let next = ready!(self.poll_unless_failed(context));
        self.failed = matches!(next, Some(Err(_)));
        Poll::Ready(next)
    }

    /// What has come, and where the message stands in it.
    pub(super) fn place(&self) -> (&[u8], Range<usize>) {
        self.deframer.place()
    }

    fn poll_unless_failed(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        loop {
            match self.deframer.advance() {
                Ok(true) => return Poll::Ready(Some(Ok(()))),
                Ok(false) => {}
                Err(fault) => return Poll::Ready(Some(Err(Error::internal(fault)))),
            }
            let parts = match &mut self.source {
                Source::Begun(parts) => parts,
                Source::Pending(call) => match ready!(call.poll_unpin(context)) {
                    Ok(reply) => {
                        self.late = reply.metadata;
                        self.source = Source::Begun(reply.parts);
                        continue;
                    }
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
            };
            if self.trailers.is_some() {
                let whole = self.deframer.is_empty();
                return Poll::Ready((!whole).then(|| Err(parts.broken())));
            }
            match ready!(parts.poll_part(context)) {
                Ok(Part::Data(data)) => self.deframer.push(data),
                Ok(Part::End(trailers)) => self.trailers = Some(trailers),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl Stream for Replies {
    type Item = Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes>>> {
        let next = ready!(self.poll_advance(context));
        let message = |()| self.deframer.message().map_err(Error::internal);
        Poll::Ready(next.map(|next| next.and_then(message)))
    }
}

/// What of a reply's headers, or trailers, or both, the contract declares for callers.
pub(super) fn declared<const N: usize>(rpc: &Rpc, metadata: [&HeaderMap; N]) -> HeaderMap {
    let mut declared = HeaderMap::new();
    let names: &[HeaderName] = &rpc.policy.response_headers;
    for name in names {
        for value in metadata.iter().flat_map(|metadata| metadata.get_all(name)) {
            declared.append(name.clone(), value.clone());
        }
    }
    declared
}
