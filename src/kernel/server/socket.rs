//! Clients that do not read, and clients that have gone.
//!
//! Who asks for much and reads nothing would keep a connection and its reply for ever. Who goes is seen by
//! hyper where it reads; but it does not read while it has bytes of the next request, or of a body of which
//! nobody takes more. So the system is asked from time to time whether the other end has closed: the call whose
//! reply nobody waits for ends then, as it does where hyper sees it.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A client that takes nothing for so long, of what is there for it, is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a connection with a request in flight is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A socket that fails when its other end takes nothing for too long, or was found closed.
pub(super) struct Socket {
    tcp: TcpStream,
    patience: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
    look: Look,
}

/// Has the socket of a connection look whether its other end is there.
#[derive(Clone)]
pub(super) struct Look(Arc<AtomicBool>);

impl Socket {
    /// Of a connection that was accepted, and what has it look.
    pub(super) fn new(tcp: TcpStream) -> (Self, Look) {
        // Fails only on a socket that is gone already, which the first read will tell.
        let _ = tcp.set_nodelay(true);
        let look = Look(Arc::default());
        (Self { tcp, patience: WRITE_TIMEOUT, deadline: None, look: look.clone() }, look)
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

    /// Whether the other end sends no more, whatever is still to be read.
    fn is_closed(&self) -> bool {
        let ready = self.tcp.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
    }
}

impl Look {
    /// Again and again, while the connection `is_busy`. To be polled in the connection's task, which
    /// flushes its socket whenever it is woken.
    pub(super) async fn whenever(self, is_busy: impl Fn() -> bool) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if is_busy() {
                self.0.store(true, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.within(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(context, pieces);
        self.within(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    // A socket keeps nothing back, so that a flush neither waits nor is progress.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Look(look) = &self.look;
        if look.load(Ordering::Relaxed) {
            look.store(false, Ordering::Relaxed);
            if self.is_closed() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);
    /// More than the buffers of both ends hold.
    const MUCH: usize = 32 * 1024 * 1024;

    async fn pair() -> (Socket, Look, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, look) = Socket::new(listener.accept().await.unwrap().0);
        (Socket { patience: PATIENCE, ..socket }, look, client)
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (mut socket, _, _client) = pair().await;
        let waiting = async {
            let written = socket.write_all(&vec![0; MUCH]).await;
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        };
        tokio::time::timeout(PATIENCE * 50, waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_slow_client_may_take_its_time() {
        let (mut socket, _, mut client) = pair().await;
        let started = tokio::time::Instant::now();
        let reading = async {
            let (mut read, mut piece) = (0, vec![0; MUCH / 20]);
            while read < MUCH {
                tokio::time::sleep(PATIENCE / 5).await;
                read += client.read(&mut piece).await.unwrap();
            }
        };
        let much = vec![0; MUCH];
        let (written, ()) = tokio::join!(socket.write_all(&much), reading);
        written.unwrap();
        assert!(started.elapsed() > PATIENCE, "it took no longer than one write may");
    }

    #[tokio::test]
    async fn who_has_gone_is_noticed_though_what_it_sent_is_not_read() {
        let (mut socket, look, mut client) = pair().await;
        client.write_all(b"what nobody reads").await.unwrap();
        socket.tcp.readable().await.unwrap();
        look.0.store(true, Ordering::Relaxed);
        socket.flush().await.unwrap();
        drop(client);
        let noticed = async {
            loop {
                look.0.store(true, Ordering::Relaxed);
                if let Err(error) = socket.flush().await {
                    break error.kind();
                }
                tokio::task::yield_now().await;
            }
        };
        let noticed = tokio::time::timeout(Duration::from_secs(10), noticed).await.unwrap();
        assert_eq!(noticed, io::ErrorKind::ConnectionAborted);
    }
}
