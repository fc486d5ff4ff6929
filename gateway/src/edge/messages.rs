//! Messages out of a body: each after five bytes, one of flags and four with its length. gRPC and Connect
//! share that form.

use std::io::Read as _;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
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

/// What is read of a body, cut into messages. They are read where they are; only a message that came in
/// several pieces is copied together.
#[derive(Debug)]
pub(super) struct Deframer {
    /// What came last, or a message that was put together.
    data: Bytes,
    /// Where the message of [`Deframer::place`] stands in it.
    place: Range<usize>,
    /// What came behind a message that was put together.
    behind: Bytes,
    /// A message of which a part is missing.
    begun: BytesMut,
    most_bytes: usize,
    encoding: Encoding,
}

impl Deframer {
    /// For messages of at most `most_bytes`, as they were before they were compressed.
    pub(super) fn new(most_bytes: usize, encoding: Encoding) -> Self {
        let (data, behind, begun) = (Bytes::new(), Bytes::new(), BytesMut::new());
        Self { data, place: 0..0, behind, begun, most_bytes, encoding }
    }

    /// Takes what came next, when there is no other message.
    pub(super) fn push(&mut self, data: Bytes) {
        self.begun.extend_from_slice(self.data.get(self.place.end..).unwrap_or_default());
        (self.data, self.place) = (data, 0..0);
        if !self.begun.is_empty() {
            self.join(PREFIX_BYTES);
            if let Ok(Some(length)) = self.announced(&self.begun) {
                self.join(length);
            }
        }
    }

    /// Takes of what came last until so much of a message that began before is together.
    fn join(&mut self, length: usize) {
        let missing = length.saturating_sub(self.begun.len()).min(self.data.len());
        self.begun.extend_from_slice(&self.data.split_to(missing));
    }

    /// Goes on to the next message, if all of it has come, and says whether it has. The announced length is
    /// checked before.
    pub(super) fn advance(&mut self) -> Result<bool> {
        if !self.begun.is_empty() {
            let whole = self.announced(&self.begun)?;
            if whole.is_none_or(|length| self.begun.len() < length) {
                return Ok(false);
            }
            self.behind = std::mem::replace(&mut self.data, self.begun.split().freeze());
        } else if self.rest().is_empty() && !self.behind.is_empty() {
            (self.data, self.place) = (std::mem::take(&mut self.behind), 0..0);
        }
        let rest = self.rest();
        let Some(length) = self.announced(rest)?.filter(|length| *length <= rest.len()) else {
            return Ok(false);
        };
        let begin = self.place.end;
        self.place = begin + PREFIX_BYTES..begin + length;
        Ok(true)
    }

    /// What has come, and where the message stands in it. For messages that are not compressed.
    pub(super) fn place(&self) -> (&[u8], Range<usize>) {
        (&self.data, self.place.clone())
    }

    /// The message.
    pub(super) fn message(&self) -> Result<Bytes> {
        let message = self.data.slice(self.place.clone());
        let compressed = self.data.get(self.place.start - PREFIX_BYTES) == Some(&COMPRESSED);
        if compressed { unzipped(&message, self.most_bytes) } else { Ok(message) }
    }

    /// The next message, if all of it has come.
    fn next(&mut self) -> Result<Option<Bytes>> {
        self.advance()?.then(|| self.message()).transpose()
    }

    /// What came last and was not taken.
    fn rest(&self) -> &[u8] {
        self.data.get(self.place.end..).unwrap_or_default()
    }

    /// How long a message will be, with its prefix, if that has come.
    fn announced(&self, begun: &[u8]) -> Result<Option<usize>> {
        let Some((flags, length)) = begun.split_first() else { return Ok(None) };
        let Some(length) = length.first_chunk() else { return Ok(None) };
        match (*flags, self.encoding) {
            (0, _) | (COMPRESSED, Encoding::Gzip) => {}
            (COMPRESSED, Encoding::Identity) => {
                return Err(Error::new(UNIMPLEMENTED, "compressed messages are not taken"));
            }
            _ => return Err(Error::new(INVALID_ARGUMENT, "a message has flags of no meaning")),
        }
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.most_bytes {
            return Err(too_large(length, self.most_bytes));
        }
        Ok(Some(PREFIX_BYTES + length))
    }

    /// Whether nothing is left over.
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.rest().is_empty() && self.behind.is_empty()
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
            for again in cut..=whole.len() {
                let parts = [&whole[..cut], &whole[cut..again], &whole[again..]];
                let found = read(&parts).await.unwrap();
                assert_eq!(found, ["hi", "", "four"], "cut at {cut} and at {again}");
            }
        }
        assert!(read(&[]).await.unwrap().is_empty());
    }

    #[test]
    fn what_was_found_is_wrong_only_behind_what_was_right() {
        let mut deframer = Deframer::new(4, Encoding::Identity);
        deframer.push(Bytes::from_static(b"\0\0\0\0\x02hi\x01\0\0\0\x02hi"));
        assert!(deframer.advance().unwrap());
        let (bytes, place) = deframer.place();
        assert_eq!(&bytes[place], b"hi");
        for _ in 0..2 {
            assert_eq!(deframer.advance().unwrap_err().code().reason, "UNIMPLEMENTED");
        }
        let mut deframer = Deframer::new(4, Encoding::Identity);
        for part in [&b"\0\0\0"[..], b"\0\x02hi\x01\0\0", b"\0", b"\x02hi"] {
            deframer.push(Bytes::from_static(part));
            while deframer.advance().is_ok_and(|found| found) {
                assert_eq!(deframer.message().unwrap(), "hi");
            }
        }
        assert_eq!(deframer.advance().unwrap_err().code().reason, "UNIMPLEMENTED");
        assert!(!deframer.is_empty());
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
