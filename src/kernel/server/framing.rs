//! Requests over HTTP/1.1 that say in two ways how long they are.
//!
//! Who reads one with both `Content-Length` and `Transfer-Encoding` by the other header than we do takes a
//! part of its body for the next request: request smuggling (RFC 9112, sections 6.3 and 11.2). hyper drops
//! the length before anybody sees it. So the bytes are followed on their way to it, as far as the framing of
//! requests goes (sections 6 and 7), and such a head is made one that hyper refuses.

use std::io::{self, BufRead as _, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const CONTENT_LENGTH: &[u8] = b"content-length:";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";
const UPGRADE: &[u8] = b"upgrade:";
const CONNECT: &[u8] = b"CONNECT ";
/// The first line of the preface of HTTP/2 (RFC 9113, section 3.4).
const HTTP_2: &[u8] = b"PRI * HTTP/2.0";
/// What no name of a header has in it.
const NUL: u8 = 0;

/// A connection on which no request states its length twice.
pub(super) struct Framed<I> {
    io: I,
    follower: Follower,
}

impl<I> Framed<I> {
    /// Of a connection on which nothing was read yet.
    pub(super) fn new(io: I) -> Self {
        Self { io, follower: Follower::new() }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Framed<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(context, buffer);
        this.follower.follow(&mut buffer.filled_mut()[before..]);
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Framed<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Where in a connection's requests the next byte is.
enum Place {
    /// In a head, or in empty lines before one.
    Head,
    /// In a body that has so many bytes left.
    Body(u64),
    /// In the line with the size of a chunk.
    ChunkSize,
    /// In a chunk that has so many bytes left, with the line end behind it.
    Chunk(u64),
    /// Behind the last chunk.
    Trailers,
    /// Where nothing is followed any more: another protocol, or what hyper refuses by itself.
    Lost,
}

/// What a head has said so far.
#[derive(Default)]
struct Head {
    has_request_line: bool,
    length: Option<u64>,
    has_encoding: bool,
    /// Whether what comes behind it may be another protocol.
    is_last: bool,
}

/// Follows the requests of a connection, in whatever pieces they come.
struct Follower {
    place: Place,
    head: Head,
    /// The first bytes of the current line, as many as tell what it is.
    start: [u8; TRANSFER_ENCODING.len()],
    /// How many those are.
    kept: usize,
    /// The length or size that the current line states.
    number: u64,
    /// Whether the next byte of the line may be a digit of it.
    in_number: bool,
}

impl Follower {
    fn new() -> Self {
        Self {
            place: Place::Head,
            head: Head::default(),
            start: [0; _],
            kept: 0,
            number: 0,
            in_number: false,
        }
    }

    /// Takes note of what has come, and makes a head unreadable that is to be refused.
    fn follow(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.place {
                Place::Lost => return,
                Place::Body(left) | Place::Chunk(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= taken as u64;
                    taken
                }
                // Of memory, which is searched fast and cannot fail.
                Place::Head | Place::ChunkSize | Place::Trailers => {
                    (&*bytes).skip_until(b'\n').unwrap_or(bytes.len())
                }
            };
            let piece = bytes.split_off_mut(..taken).unwrap_or_default();
            match self.place {
                Place::Body(0) => self.place = Place::Head,
                Place::Chunk(0) => self.begin_chunk(),
                Place::Head | Place::ChunkSize | Place::Trailers => self.line(piece),
                Place::Body(_) | Place::Chunk(_) | Place::Lost => {}
            }
        }
    }

    /// Takes a piece of a line, which ends there if the piece does so in a line feed.
    fn line(&mut self, piece: &mut [u8]) {
        let before = self.kept;
        let more = piece.len().min(self.start.len() - before);
        self.start[before..before + more].copy_from_slice(&piece[..more]);
        self.kept += more;
        match self.place {
            Place::ChunkSize => self.chunk_size(piece),
            Place::Head if self.head.has_request_line => self.header(piece, before),
            _ => {}
        }
        if piece.last() == Some(&b'\n') {
            self.end_line();
            self.kept = 0;
        }
    }

    /// Takes a piece of a header, of which so many bytes were kept before.
    fn header(&mut self, piece: &mut [u8], before: usize) {
        let mut value = 0;
        // The colon comes last, so it is in the very piece by which the name is known.
        let colon = |name: &[u8]| name.len().checked_sub(before + 1);
        if self.begins(CONTENT_LENGTH)
            && let Some(colon) = colon(CONTENT_LENGTH)
        {
            if self.head.has_encoding {
                return self.refuse(&mut piece[colon]);
            }
            self.begin_number();
            value = colon + 1;
        } else if self.begins(TRANSFER_ENCODING)
            && let Some(colon) = colon(TRANSFER_ENCODING)
        {
            if self.head.length.is_some() {
                return self.refuse(&mut piece[colon]);
            }
            self.head.has_encoding = true;
        }
        if self.in_number {
            self.length(&piece[value..]);
        }
    }

    fn length(&mut self, value: &[u8]) {
        for byte in value {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => match self.digit(*byte, 10) {
                    Some(number) => self.number = number,
                    None => self.place = Place::Lost,
                },
            }
        }
    }

    fn chunk_size(&mut self, piece: &[u8]) {
        for byte in piece {
            match self.digit(*byte, 16).filter(|_| self.in_number) {
                Some(number) => self.number = number,
                // What comes behind is an extension, or nothing that hyper takes.
                None => return self.in_number = false,
            }
        }
    }

    fn end_line(&mut self) {
        let is_empty = matches!(&self.start[..self.kept], b"\n" | b"\r\n");
        match self.place {
            Place::Head if !self.head.has_request_line => {
                self.head.has_request_line = !is_empty;
                self.head.is_last = self.start[..self.kept].starts_with(CONNECT);
                if self.begins(HTTP_2) {
                    self.place = Place::Lost;
                }
            }
            Place::Head if is_empty => self.end_head(),
            Place::Head => {
                self.head.is_last |= self.begins(UPGRADE);
                if std::mem::take(&mut self.in_number) {
                    self.head.length = Some(self.number);
                }
            }
            Place::ChunkSize if self.number == 0 => self.place = Place::Trailers,
            Place::ChunkSize => {
                let with_line_end = self.number.checked_add(2);
                self.place = with_line_end.map_or(Place::Lost, Place::Chunk);
            }
            Place::Trailers if is_empty => self.place = Place::Head,
            Place::Trailers | Place::Body(_) | Place::Chunk(_) | Place::Lost => {}
        }
    }

    fn end_head(&mut self) {
        let head = std::mem::take(&mut self.head);
        match head.length.unwrap_or(0) {
            _ if head.is_last => self.place = Place::Lost,
            _ if head.has_encoding => self.begin_chunk(),
            0 => self.place = Place::Head,
            length => self.place = Place::Body(length),
        }
    }

    fn begin_chunk(&mut self) {
        self.place = Place::ChunkSize;
        self.begin_number();
    }

    fn begin_number(&mut self) {
        (self.number, self.in_number) = (0, true);
    }

    /// The number with one digit more.
    fn digit(&self, byte: u8, radix: u32) -> Option<u64> {
        let digit = char::from(byte).to_digit(radix)?;
        self.number.checked_mul(radix.into())?.checked_add(digit.into())
    }

    /// Whether the current line begins so, in whatever case.
    fn begins(&self, with: &[u8]) -> bool {
        with.len() <= self.kept && self.start[..with.len()].eq_ignore_ascii_case(with)
    }

    /// Has hyper refuse the head, and everything after it, with 400.
    fn refuse(&mut self, colon: &mut u8) {
        *colon = NUL;
        self.place = Place::Lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper reads of an input that comes in pieces of so many bytes.
    fn passed(input: &str, piece: usize) -> String {
        let mut follower = Follower::new();
        let mut bytes = input.as_bytes().to_vec();
        bytes.chunks_mut(piece).for_each(|piece| follower.follow(piece));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    const PIECES: [usize; 5] = [1, 2, 7, 16, 10_000];
    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn refused() -> String {
        BOTH.replace("Encoding:", "Encoding\0")
    }

    #[test]
    fn a_head_with_a_length_and_an_encoding_is_made_unreadable() {
        let rows = [
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ntransfer-encoding| chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\nx: y\r\nContent-Length| 5\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length:5\r\ncontent-length:5\r\ntransfer-encoding|chunked\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nUpgrade: x\r\ntransfer-encoding:\r\ncontent-length|\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\ncontent-length: 5\ntransfer-encoding| chunked\n\n",
        ];
        let before = [
            "",
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length:  007 \r\n\r\nsix\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"1\"\r\na\r\n\r\n\r\n\
             0a \r\n0123456789\r\n00\r\nx: y\r\ncontent-length: 3\r\n\r\n",
        ];
        for (row, before) in rows.iter().flat_map(|row| before.map(|before| (row, before))) {
            let (sent, read) = (row.replace('|', ":"), row.replace('|', "\0"));
            for piece in PIECES {
                let read = format!("{before}{read}");
                assert_eq!(passed(&format!("{before}{sent}"), piece), read, "{piece}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_such_a_head_passes() {
        let (lines, length) = (BOTH.replace("\r\n", "\n"), BOTH.len());
        let encoding = "transfer-encoding: chunked";
        let multipart =
            "--x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc\r\n--x--\r\n";
        let rows = [
            format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{BOTH}"),
            format!("POST / HTTP/1.1\ncontent-length: {}\n\n{lines}", lines.len()),
            format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{BOTH}\r\n\
                 {length:X};{}\r\n{BOTH}\r\n0\r\nTransfer-Encoding: x\r\nContent-Length: 5\r\n\r\n",
                "long".repeat(20)
            ),
            format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{multipart}", multipart.len()),
            format!("GET / HTTP/1.1\r\nx-content-length: 1\r\n{encoding}\r\n\r\n0\r\n\r\n"),
            format!("GET / HTTP/1.1\r\ncontent-lengthy: 1\r\n{encoding}\r\n\r\n0\r\n\r\n"),
        ];
        for row in rows {
            for piece in PIECES {
                // The request behind shows that its end was found.
                let (sent, read) = (format!("{row}{BOTH}"), format!("{row}{}", refused()));
                assert_eq!(passed(&sent, piece), read, "{piece}");
            }
        }
    }

    #[test]
    fn other_protocols_and_what_hyper_refuses_are_left_alone() {
        for before in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            let sent = format!("{before}{BOTH}");
            for piece in PIECES {
                assert_eq!(passed(&sent, piece), sent, "{piece}");
            }
        }
    }
}
