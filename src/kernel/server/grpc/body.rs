//! Reading the first message of a request before the service does, within the contract's limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt as _;

use crate::kernel::error::{Error, INVALID_ARGUMENT, PAYLOAD_TOO_LARGE, Result, UNIMPLEMENTED};

/// One byte that says whether the message is compressed, four with its length.
const PREFIX_BYTES: usize = 5;

/// Judges one message of a stream.
pub(super) type Check = Box<dyn FnMut(&[u8]) -> Result<()> + Send>;

/// The first message of a request, and the whole body for the service.
pub(super) struct Read {
    pub(super) message: Bytes,
    pub(super) body: Body,
}

/// Reads the one message of a unary request. The length that the message announces is checked before
/// any of it is read.
pub(super) async fn read_unary(mut body: Body, max_bytes: usize) -> Result<Read> {
    let (buffer, message) = read_first(&mut body, max_bytes).await?;
    let one_message = || Error::new(INVALID_ARGUMENT, "the request is not exactly one message");
    let message = message.ok_or_else(one_message)?;
    if buffer.len() > PREFIX_BYTES + message.len() {
        return Err(one_message());
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        if frame.data_ref().is_some_and(|data| !data.is_empty()) {
            return Err(one_message());
        }
    }
    Ok(Read { message, body: Body::from(buffer) })
}

/// Reads the first message of a stream; all pass through, each within the limit and if `check` finds
/// nothing wrong with it. A stream without any is taken as one empty message.
pub(super) async fn read_stream(mut body: Body, max_bytes: usize, check: Check) -> Result<Read> {
    let (buffer, message) = read_first(&mut body, max_bytes).await?;
    let rest = Judged { read: Some(buffer), body, max_bytes, buffer: BytesMut::new(), check };
    Ok(Read { message: message.unwrap_or_default(), body: Body::new(rest) })
}

/// All bytes read so far, and the first message if there is one.
async fn read_first(body: &mut Body, max_bytes: usize) -> Result<(Bytes, Option<Bytes>)> {
    let mut buffer = BytesMut::new();
    let mut announced = None;
    loop {
        if announced.is_none() && buffer.len() >= PREFIX_BYTES {
            announced = Some(announced_length(&buffer, max_bytes)?);
        }
        if let Some(length) = announced
            && buffer.len() >= PREFIX_BYTES + length
        {
            let buffer = buffer.freeze();
            let message = buffer.slice(PREFIX_BYTES..PREFIX_BYTES + length);
            return Ok((buffer, Some(message)));
        }
        match body.frame().await {
            Some(frame) => {
                if let Ok(data) = frame.map_err(broken)?.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
            None if buffer.is_empty() => return Ok((Bytes::new(), None)),
            None => return Err(Error::new(INVALID_ARGUMENT, "the request breaks off")),
        }
    }
}

fn announced_length(prefix: &[u8], max_bytes: usize) -> Result<usize> {
    if prefix[0] != 0 {
        return Err(Error::new(UNIMPLEMENTED, "compressed messages are not taken"));
    }
    let length = (&prefix[1..PREFIX_BYTES]).get_u32() as usize;
    if length > max_bytes {
        let message = format!("the request has {length} bytes, at most {max_bytes} are taken");
        return Err(Error::new(PAYLOAD_TOO_LARGE, message));
    }
    Ok(length)
}

fn broken(error: axum::Error) -> Error {
    Error::new(INVALID_ARGUMENT, "the request breaks off").because(error)
}

/// A stream of messages, cut off at the first that is too large or breaks a rule: the service never sees
/// the end of that one.
struct Judged {
    read: Option<Bytes>,
    body: Body,
    max_bytes: usize,
    /// The message under way as far as it has come, with its prefix.
    buffer: BytesMut,
    check: Check,
}

impl Judged {
    fn judge(&mut self, data: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(data);
        while self.buffer.len() >= PREFIX_BYTES {
            let end = PREFIX_BYTES + announced_length(&self.buffer, self.max_bytes)?;
            if self.buffer.len() < end {
                return Ok(());
            }
            let message = self.buffer.split_to(end);
            (self.check)(&message[PREFIX_BYTES..])?;
        }
        Ok(())
    }
}

impl http_body::Body for Judged {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, tonic::Status>>> {
        let frame = match self.read.take() {
            Some(read) => Some(Ok(Frame::data(read))),
            None => ready!(Pin::new(&mut self.body).poll_frame(context)),
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(broken)?;
            self.judge(frame.data_ref().map_or(&[], Bytes::as_ref))?;
            Ok(frame)
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// The parts in which a body arrives, and the message or the reason of the refusal.
    type Case = (&'static [&'static [u8]], std::result::Result<&'static [u8], &'static str>);

    fn body(parts: &[&'static [u8]]) -> Body {
        let parts: Vec<_> =
            parts.iter().map(|part| Ok::<_, tonic::Status>(Bytes::from_static(part))).collect();
        Body::from_stream(stream::iter(parts))
    }

    #[tokio::test]
    async fn a_unary_request_is_one_message_within_the_limit() {
        let cases: [Case; 9] = [
            (&[b"\0\0\0\0\x02hi"], Ok(b"hi")),
            (&[b"\0\0", b"\0\0\x02h", b"", b"i"], Ok(b"hi")),
            (&[b"\0\0\0\0\0"], Ok(b"")),
            (&[], Err("INVALID_ARGUMENT")),
            (&[b"\0\0\0\0\x02h"], Err("INVALID_ARGUMENT")),
            (&[b"\0\0\0\0\x02hi!"], Err("INVALID_ARGUMENT")),
            (&[b"\0\0\0\0\x02hi", b"!"], Err("INVALID_ARGUMENT")),
            (&[b"\0\xff\xff\xff\xff"], Err("PAYLOAD_TOO_LARGE")),
            (&[b"\x01\0\0\0\x02hi"], Err("UNIMPLEMENTED")),
        ];
        for (parts, expected) in cases {
            let read = read_unary(body(parts), 4).await;
            match (read, expected) {
                (Ok(read), Ok(message)) => {
                    assert_eq!(read.message, message, "{parts:?}");
                    let replayed = read.body.collect().await.expect("reads").to_bytes();
                    assert_eq!(replayed, parts.concat(), "{parts:?}");
                }
                (Err(error), Err(reason)) => assert_eq!(error.code().reason, reason, "{parts:?}"),
                (read, _) => panic!("{parts:?}: {:?}", read.map(|read| read.message)),
            }
        }
    }

    #[tokio::test]
    async fn every_message_of_a_stream_has_the_limit_and_is_judged() {
        let read = async |parts: &[&'static [u8]]| {
            let not_no = |message: &[u8]| match message {
                b"no" => Err(Error::new(INVALID_ARGUMENT, "no")),
                _ => Ok(()),
            };
            read_stream(body(parts), 4, Box::new(not_no)).await.expect("the first is small")
        };
        let small: &[&'static [u8]] = &[b"\0\0\0\0\x02hi\0\0", b"\0\0\x02yo"];
        let sound = read(small).await;
        assert_eq!(sound.message, "hi");
        assert_eq!(sound.body.collect().await.expect("reads").to_bytes(), small.concat());

        let bomb = read(&[b"\0\0\0\0\x02hi\0\0", b"\0\0\x05hello"]).await;
        assert!(bomb.body.collect().await.is_err());
        let wrong = read(&[b"\0\0\0\0\x02hi", b"\0\0\0\0\x02n", b"o"]).await;
        let mut wrong = wrong.body;
        assert!(wrong.frame().await.expect("is there").is_ok());
        assert!(wrong.frame().await.expect("is there").is_ok(), "it is not whole yet");
        assert!(wrong.frame().await.expect("is there").is_err(), "its end never comes");
    }
}
