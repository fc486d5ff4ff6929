//! gRPC-Web: gRPC for networks that cannot pass HTTP/2. Trailers travel as a last frame of the body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;
use hyper::body::Incoming;
use tonic::Status;

/// The media type in both directions.
pub(super) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");

/// A flag byte and four bytes of length stand before each frame.
const PREFIX_BYTES: usize = 5;
/// The bit of the flag byte that marks the frame with the trailers.
const TRAILERS_FLAG: u8 = 0x80;
/// Trailers larger than this are not ours.
const MAX_TRAILER_BYTES: usize = 64 * 1024;

/// Makes the head of a reply look as clients of gRPC expect it.
pub(super) fn mark_as_grpc(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.remove(header::CONTENT_LENGTH);
}

/// Turns the body of a gRPC-Web reply into that of a gRPC reply: messages as they are, the last frame
/// as trailers.
pub(super) struct WebBody<B = Incoming> {
    body: B,
    buffer: BytesMut,
    /// Bytes of the message under way that are still to come.
    message_left: usize,
    done: bool,
}

impl<B> WebBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, buffer: BytesMut::new(), message_left: 0, done: false }
    }

    /// The next part that the buffer holds whole; `None` when more must be read.
    fn next(&mut self) -> Result<Option<Frame<Bytes>>, Status> {
        if self.message_left == 0 {
            if self.buffer.len() < PREFIX_BYTES {
                return Ok(None);
            }
            let length = (&self.buffer[1..PREFIX_BYTES]).get_u32() as usize;
            if self.buffer[0] & TRAILERS_FLAG != 0 {
                return self.trailers(length);
            }
            self.message_left = PREFIX_BYTES + length;
        }
        let part = self.message_left.min(self.buffer.len());
        self.message_left -= part;
        Ok((part > 0).then(|| Frame::data(self.buffer.split_to(part).freeze())))
    }

    fn trailers(&mut self, length: usize) -> Result<Option<Frame<Bytes>>, Status> {
        if length > MAX_TRAILER_BYTES {
            return Err(Status::internal("the reply's trailers are too large"));
        }
        if self.buffer.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.done = true;
        let block = self.buffer.split_to(PREFIX_BYTES + length).split_off(PREFIX_BYTES);
        parse_trailers(&block).map(|trailers| Some(Frame::trailers(trailers)))
    }
}

impl<B> http_body::Body for WebBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<tower::BoxError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if self.done {
                return Poll::Ready(None);
            }
            if let Some(frame) = self.next().transpose() {
                return Poll::Ready(Some(frame));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    let error = error.into();
                    return Poll::Ready(Some(Err(Status::unavailable(error.to_string()))));
                }
                None if self.buffer.is_empty() && self.message_left == 0 => {
                    return Poll::Ready(None);
                }
                None => {
                    self.done = true;
                    return Poll::Ready(Some(Err(Status::unavailable("the reply broke off"))));
                }
            }
        }
    }
}

/// Lines of `name: value`, as in HTTP/1.1.
fn parse_trailers(block: &[u8]) -> Result<HeaderMap, Status> {
    let mut trailers = HeaderMap::new();
    for line in block.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let parsed = colon.and_then(|colon| {
            let name = HeaderName::from_bytes(line[..colon].trim_ascii()).ok()?;
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
            Some((name, value))
        });
        let (name, value) =
            parsed.ok_or_else(|| Status::internal("the reply's trailers cannot be read"))?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    const REPLY: &[u8] = b"\0\0\0\0\x02hi\x80\0\0\0\x23grpc-status: 0\r\ngrpc-message: yes\r\n";

    async fn read(parts: Vec<&'static [u8]>) -> Result<(Bytes, Option<HeaderMap>), Status> {
        let frames =
            parts.into_iter().map(|part| Ok::<_, Status>(Frame::data(Bytes::from_static(part))));
        let collected = WebBody::new(StreamBody::new(stream::iter(frames))).collect().await?;
        let trailers = collected.trailers().cloned();
        Ok((collected.to_bytes(), trailers))
    }

    #[tokio::test]
    async fn a_reply_reads_the_same_however_it_is_cut() {
        for cut in 0..REPLY.len() {
            let (data, trailers) = read(vec![&REPLY[..cut], &REPLY[cut..]]).await.expect("reads");
            assert_eq!(&data[..], b"\0\0\0\0\x02hi", "cut at {cut}");
            assert_eq!(trailers.expect("has trailers")["grpc-status"], "0", "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_reply_that_breaks_off_is_an_error() {
        for cut in [1, 6, 8, REPLY.len() - 1] {
            assert!(read(vec![&REPLY[..cut]]).await.is_err(), "cut at {cut}");
        }
    }
}
