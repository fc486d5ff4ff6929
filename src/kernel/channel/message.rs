//! The five bytes before every gRPC message.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tonic::Status;

/// One byte that says whether the message is compressed, four with its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// A message with its prefix, as it stands in the body of a request or reply.
pub fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    // A message longer than a protobuf may be (2 GiB) cannot have been encoded.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// The one message of a whole reply.
pub(super) fn unframed(mut bytes: Bytes) -> Result<Bytes, Status> {
    if bytes.len() < PREFIX_BYTES {
        return Err(Status::internal("the reply has no message"));
    }
    let compressed = bytes.get_u8() != 0;
    let length = bytes.get_u32() as usize;
    if compressed || bytes.len() != length {
        return Err(Status::internal("the reply is not one uncompressed message"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_exactly_one_uncompressed_message() {
        let cases: [(&[u8], Option<&[u8]>); 6] = [
            (b"\0\0\0\0\x02hi", Some(b"hi")),
            (b"\0\0\0\0\0", Some(b"")),
            (b"", None),
            (b"\0\0\0\0\x03hi", None),
            (b"\0\0\0\0\x01hi", None),
            (b"\x01\0\0\0\x02hi", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(unframed(Bytes::from_static(bytes)).ok().as_deref(), expected, "{bytes:?}");
        }
    }
}
