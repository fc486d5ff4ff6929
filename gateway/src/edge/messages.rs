//! Messages out of a body: each after five bytes, one of flags and four with its length. gRPC and Connect
//! share that form.

use std::io::Read as _;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use mainstay::kernel::error::{Error, INVALID_ARGUMENT, PAYLOAD_TOO_LARGE, Result, UNIMPLEMENTED};
use tokio::sync::oneshot::{self, error::TryRecvError};

/// One byte of flags, four with the length.
pub(super) const PREFIX_BYTES: usize = 5;

/// The flag of a compressed message.
const COMPRESSED: u8 = 1;

/// Messages in protobuf encoding, as they come.
pub(crate) type Messages = BoxStream<'static, Result<Bytes>>;

/// How a message is written that is flagged as compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// None is.
    Identity,
    /// By RFC 1952.
    Gzip,
}

/// What may be found wrong with the messages of a caller while they are sent on. It is told before what it
/// does to the call can be seen.
#[derive(Debug)]
pub(super) struct Fault(Option<oneshot::Receiver<Error>>);

impl Fault {
    /// Of messages that are judged while they are sent, and who finds a fault in them says so.
    pub(super) fn watched() -> (oneshot::Sender<Error>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(Some(receiver)))
    }

    /// Of what was judged before.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Waits for a fault; for ever where there is none.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let Some(receiver) = &mut self.0 else { return Poll::Pending };
        let found = ready!(receiver.poll_unpin(context));
        self.0 = None;
        // All was sent and nothing was wrong where the other end is gone.
        found.map_or(Poll::Pending, Poll::Ready)
    }

    /// The fault, if it has been found by now: the reason why a call has just ended, which may have
    /// been seen first.
    pub(super) fn found(&mut self) -> Option<Error> {
        let found = self.0.as_mut()?.try_recv();
        if !matches!(found, Err(TryRecvError::Empty)) {
            self.0 = None;
        }
        found.ok()
    }
}

/// What is read of a body, cut into messages.
#[derive(Debug)]
pub(super) struct Deframer {
    buffer: BytesMut,
    most_bytes: usize,
    encoding: Encoding,
}

impl Deframer {
    /// For messages of at most `most_bytes`, as they were before they were compressed.
    pub(super) fn new(most_bytes: usize, encoding: Encoding) -> Self {
        Self { buffer: BytesMut::new(), most_bytes, encoding }
    }

    /// Takes what came next.
    pub(super) fn push(&mut self, data: Bytes) {
        match data.try_into_mut() {
            // What is the only owner of its bytes need not be copied.
            Ok(data) if self.buffer.is_empty() => self.buffer = data,
            Ok(data) => self.buffer.extend_from_slice(&data),
            Err(data) => self.buffer.extend_from_slice(&data),
        }
    }

    /// The next message, if all of it has come. The announced length is checked before it has.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>> {
        let Some((mut prefix, content)) = self.buffer.split_at_checked(PREFIX_BYTES) else {
            return Ok(None);
        };
        let compressed = match (prefix.get_u8(), self.encoding) {
            (0, _) => false,
            (COMPRESSED, Encoding::Gzip) => true,
            (COMPRESSED, Encoding::Identity) => {
                return Err(Error::new(UNIMPLEMENTED, "compressed messages are not taken"));
            }
            _ => return Err(Error::new(INVALID_ARGUMENT, "a message has flags of no meaning")),
        };
        let length = prefix.get_u32() as usize;
        if length > self.most_bytes {
            return Err(too_large(length, self.most_bytes));
        }
        if content.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        let message = self.buffer.split_to(length).freeze();
        if compressed { unzipped(&message, self.most_bytes).map(Some) } else { Ok(Some(message)) }
    }

    /// Whether nothing is left over.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// The messages of a body, each of at most `most_bytes`.
pub(super) fn stream(body: Body, most_bytes: usize, encoding: Encoding) -> Messages {
    let begin = (body, Deframer::new(most_bytes, encoding));
    stream::try_unfold(begin, |(mut body, mut deframer)| async move {
        loop {
            if let Some(message) = deframer.next()? {
                return Ok(Some((message, (body, deframer))));
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        deframer.push(data);
                    }
                }
                None if deframer.is_empty() => return Ok(None),
                Some(Err(_)) | None => return Err(broken()),
            }
        }
    })
    .boxed()
}

/// The one message of a body that was read whole.
pub(super) fn only(body: Bytes, most_bytes: usize, encoding: Encoding) -> Result<Bytes> {
    let mut deframer = Deframer::new(most_bytes, encoding);
    deframer.push(body);
    match deframer.next()? {
        Some(message) if deframer.is_empty() => Ok(message),
        _ => Err(Error::new(INVALID_ARGUMENT, "the request is not exactly one message")),
    }
}

/// A message that was compressed. It is not unpacked further than it may be large.
fn unzipped(message: &[u8], most_bytes: usize) -> Result<Bytes> {
    let mut whole = Vec::new();
    let limit = u64::try_from(most_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(message).take(limit).read_to_end(&mut whole);
    match read {
        Ok(length) if length > most_bytes => {
            let message = format!("a message is larger than {most_bytes} bytes");
            Err(Error::new(PAYLOAD_TOO_LARGE, message).detail("max_bytes", most_bytes.to_string()))
        }
        Ok(_) => Ok(whole.into()),
        Err(_) => Err(Error::new(INVALID_ARGUMENT, "a message is no gzip that could be read")),
    }
}

fn too_large(length: usize, most_bytes: usize) -> Error {
    let message = format!("a message has {length} bytes, at most {most_bytes} are taken");
    Error::new(PAYLOAD_TOO_LARGE, message).detail("max_bytes", most_bytes.to_string())
}

/// What is said of a request that ends in the middle.
pub(super) fn broken() -> Error {
    Error::new(INVALID_ARGUMENT, "the request broke off")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures::TryStreamExt as _;

    use super::*;

    async fn read(parts: &[&'static [u8]]) -> Result<Vec<Bytes>> {
        let parts: Vec<_> =
            parts.iter().map(|part| Ok::<_, Error>(Bytes::from_static(part))).collect();
        let body = Body::from_stream(stream::iter(parts));
        stream(body, 4, Encoding::Identity).try_collect().await
    }

    #[tokio::test]
    async fn messages_are_found_however_a_body_is_cut() {
        let whole: &'static [u8] = b"\0\0\0\0\x02hi\0\0\0\0\0\0\0\0\0\x04four";
        for cut in 0..=whole.len() {
            let found = read(&[&whole[..cut], &whole[cut..]]).await.unwrap();
            assert_eq!(found, ["hi", "", "four"], "cut at {cut}");
        }
        assert!(read(&[]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_with_its_reason() {
        let rows: [(&'static [u8], &str); 5] = [
            (b"\0\0\0\0\x02h", "INVALID_ARGUMENT"),
            (b"\0\0", "INVALID_ARGUMENT"),
            (b"\0\xff\xff\xff\xff", "PAYLOAD_TOO_LARGE"),
            (b"\x01\0\0\0\x02hi", "UNIMPLEMENTED"),
            (b"\x80\0\0\0\x02hi", "INVALID_ARGUMENT"),
        ];
        for (bytes, reason) in rows {
            assert_eq!(read(&[bytes]).await.unwrap_err().code().reason, reason, "{bytes:?}");
        }
    }

    #[test]
    fn a_unary_body_is_exactly_one_message() {
        let only = |body: &'static [u8]| only(Bytes::from_static(body), 4, Encoding::Identity);
        assert_eq!(only(b"\0\0\0\0\x02hi").unwrap(), "hi");
        let wrong: [&[u8]; 4] =
            [b"", b"\0\0\0\0\x02h", b"\0\0\0\0\x02hi!", b"\0\0\0\0\0\0\0\0\0\0"];
        for body in wrong {
            assert!(only(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_compressed_message_is_unpacked_as_far_as_it_may_be_large() {
        let packed = |content: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        };
        let framed = |flag: u8, content: &[u8]| {
            let length = u32::try_from(content.len()).unwrap().to_be_bytes();
            Bytes::from([&[flag][..], &length, content].concat())
        };
        let read = |flag, content: &[u8]| only(framed(flag, content), 1000, Encoding::Gzip);
        assert_eq!(read(1, &packed(b"hi")).unwrap(), "hi");
        assert_eq!(read(1, &packed(&[7; 1000])).unwrap(), [7; 1000][..]);
        assert_eq!(read(0, b"hi").unwrap(), "hi", "not every message is worth it");
        let rows = [
            (packed(&[7; 1001]), "PAYLOAD_TOO_LARGE"),
            (packed(&[7; 5_000_000])[..900].to_vec(), "PAYLOAD_TOO_LARGE"),
            (packed(b"hi")[..15].to_vec(), "INVALID_ARGUMENT"),
            (b"hi".to_vec(), "INVALID_ARGUMENT"),
        ];
        for (content, reason) in rows {
            assert_eq!(read(1, &content).unwrap_err().code().reason, reason);
        }
    }
}
