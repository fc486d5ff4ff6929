//! Clients that do not read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A socket that fails when the other end takes nothing of what is written for too long. Who asks for much
/// and reads nothing would otherwise keep a connection and its reply for ever.
pub(super) struct TimeoutWriter<I> {
    io: I,
    patience: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<I> TimeoutWriter<I> {
    /// Of a socket whose other end may take nothing for `patience`.
    pub(super) fn new(io: I, patience: Duration) -> Self {
        Self { io, patience, deadline: None }
    }

    fn within(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for TimeoutWriter<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for TimeoutWriter<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.within(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, pieces);
        self.within(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    // A socket keeps nothing back, so that a flush neither waits nor is progress.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (socket, _client) = tokio::io::duplex(64);
        let mut socket = TimeoutWriter::new(socket, PATIENCE);
        socket.write_all(&[0; 64]).await.unwrap();
        let waiting = async {
            let written = socket.write_all(&[0; 1]).await;
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        };
        tokio::time::timeout(PATIENCE * 20, waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_slow_client_may_take_its_time() {
        let (socket, mut client) = tokio::io::duplex(64);
        let mut socket = TimeoutWriter::new(socket, PATIENCE);
        let reading = async {
            let mut read = 0;
            while read < 640 {
                tokio::time::sleep(PATIENCE / 5).await;
                read += client.read(&mut [0; 40]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(socket.write_all(&[0; 640]), reading);
        written.unwrap();
    }
}
