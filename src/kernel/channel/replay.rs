//! A request body that can be sent more than once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use tonic::Status;
use tonic::body::Body;

/// Larger bodies are sent once.
const MAX_REPLAY_BYTES: usize = 4 * 1024 * 1024;

/// A body that is all there at once, as that of a unary call, is kept and can be sent again. One
/// that is still being produced, as that of a client stream, passes through and can be sent once; an
/// attempt that never got as far as to read it leaves it to the next.
pub(super) enum Replay {
    Whole(Bytes),
    Once(Arc<Mutex<Option<Body>>>),
}

/// What one attempt sends.
pub(super) enum Content {
    Whole(Bytes),
    Stream(Body),
}

impl Content {
    pub(super) fn into_body(self) -> Body {
        match self {
            Self::Whole(bytes) => Body::new(Full::new(bytes)),
            Self::Stream(body) => body,
        }
    }
}

impl Replay {
    pub(super) async fn read(mut body: Body) -> Self {
        let mut ready = VecDeque::new();
        let mut size = 0;
        let ended = std::future::poll_fn(|context| {
            while size <= MAX_REPLAY_BYTES {
                match Pin::new(&mut body).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => {
                        size += frame.data_ref().map_or(0, Bytes::len);
                        ready.push_back(Ok(frame));
                    }
                    Poll::Ready(Some(Err(status))) => {
                        ready.push_back(Err(status));
                        return Poll::Ready(false);
                    }
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Pending => return Poll::Ready(false),
                }
            }
            Poll::Ready(false)
        })
        .await;
        if ended {
            return Self::Whole(join(ready));
        }
        Self::Once(Arc::new(Mutex::new(Some(Body::new(Rest { ready, body })))))
    }

    /// The content for an attempt; `None` when it was sent and cannot be again.
    pub(super) fn take(&mut self) -> Option<Content> {
        match self {
            Self::Whole(bytes) => Some(Content::Whole(bytes.clone())),
            Self::Once(body) => {
                let unread = body.lock().unwrap_or_else(PoisonError::into_inner).is_some();
                let body = Unread { shared: Arc::clone(body), own: None };
                unread.then(|| Content::Stream(Body::new(body)))
            }
        }
    }
}

fn join(frames: VecDeque<Result<Frame<Bytes>, Status>>) -> Bytes {
    let mut parts: Vec<Bytes> =
        frames.into_iter().flatten().filter_map(|frame| frame.into_data().ok()).collect();
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut joined = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| joined.extend_from_slice(part));
    joined.freeze()
}

/// A body that becomes an attempt's own when it is read.
struct Unread {
    shared: Arc<Mutex<Option<Body>>>,
    own: Option<Body>,
}

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.own.is_none() {
            let taken = self.shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.own = taken;
        }
        match &mut self.own {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(Some(Err(Status::cancelled("the body was sent elsewhere")))),
        }
    }
}

/// What was read already, then the rest as it comes.
struct Rest {
    ready: VecDeque<Result<Frame<Bytes>, Status>>,
    body: Body,
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.ready.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.body).poll_frame(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    async fn content(replay: &mut Replay) -> Option<Bytes> {
        Some(replay.take()?.into_body().collect().await.expect("reads").to_bytes())
    }

    #[tokio::test]
    async fn a_body_that_is_all_there_can_be_sent_again() {
        let mut replay = Replay::read(Body::new(Full::new(Bytes::from("hello")))).await;
        for _ in 0..3 {
            assert_eq!(content(&mut replay).await.as_deref(), Some(&b"hello"[..]));
        }
    }

    #[tokio::test]
    async fn a_body_that_is_being_produced_is_sent_once() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<_, Status>>(4);
        sender.send(Ok(Frame::data(Bytes::from("hel")))).await.expect("open");
        let body = Body::new(StreamBody::new(ReceiverStream::new(receiver)));
        let mut replay = Replay::read(body).await;
        drop(replay.take().expect("nobody has read it"));
        sender.send(Ok(Frame::data(Bytes::from("lo")))).await.expect("open");
        drop(sender);
        assert_eq!(content(&mut replay).await.as_deref(), Some(&b"hello"[..]));
        assert_eq!(content(&mut replay).await, None);
    }
}
