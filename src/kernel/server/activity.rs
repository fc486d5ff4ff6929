//! What happens on a connection: how many requests are in flight, and when there were none.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::listener::State;

/// What happens on a connection. A request notes its begin and its end and wakes nobody who does not
/// wait for just that: who watches for silence looks when it may have lasted long enough.
pub(super) struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    started: AtomicBool,
    first: Notify,
    /// When the last request ended, in microseconds since the connection was opened.
    last_end: AtomicU64,
    none_in_flight: Notify,
}

impl Activity {
    /// Of a connection that was just opened.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            started: AtomicBool::new(false),
            first: Notify::new(),
            last_end: AtomicU64::new(0),
            none_in_flight: Notify::new(),
        }
    }

    /// Ends when the connection has made no request at all for `patience`: it may be a client that
    /// sends its first bytes one by one, or none.
    pub(super) async fn silent(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        if self.started.load(Ordering::SeqCst) {
            std::future::pending().await
        }
    }

    /// Ends when the connection has made its first request, or none for `patience`.
    pub(super) async fn begun(&self, patience: Duration) {
        let first = self.first.notified();
        if !self.started.load(Ordering::SeqCst) {
            // Whichever comes first: the connection has had its chance.
            let _ = tokio::time::timeout(patience, first).await;
        }
    }

    /// Ends when the connection has had no request in flight for `patience`, counted from now or from
    /// the last request's end, whichever is later.
    pub(super) async fn quiet(&self, patience: Duration) {
        let mut since = Instant::now();
        loop {
            let ended = self.none_in_flight.notified();
            if self.is_busy() {
                ended.await;
            }
            let last_end = Duration::from_micros(self.last_end.load(Ordering::SeqCst));
            since = since.max(self.opened + last_end);
            if since + patience <= Instant::now() && !self.is_busy() {
                return;
            }
            tokio::time::sleep_until(since + patience).await;
        }
    }

    /// Whether a request is in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) > 0
    }

    fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        if !self.started.swap(true, Ordering::SeqCst) {
            self.first.notify_waiters();
        }
    }

    fn end(&self) {
        let now = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_end.store(now, Ordering::SeqCst);
        if self.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.none_in_flight.notify_waiters();
        }
    }
}

/// A connection as its requests see it. They hold this one thing of their own connection, rather than
/// what all connections share.
pub(super) struct Connection {
    pub(super) activity: Activity,
    pub(super) state: Arc<State>,
}

/// A request, from its headers to the last byte of its reply.
pub(super) struct InFlight(Arc<Connection>);

impl InFlight {
    pub(super) fn start(connection: &Arc<Connection>) -> Self {
        connection.activity.begin();
        connection.state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }

    /// Whether the client is to go when it has its reply.
    pub(super) fn is_last(&self) -> bool {
        self.0.state.leaving.load(Ordering::Relaxed)
    }

    pub(super) fn until_sent(self, response: Response<Body>) -> Response<Guarded> {
        response.map(|body| Guarded { body, _guard: self })
    }
}

impl std::fmt::Debug for InFlight {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InFlight").finish_non_exhaustive()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.activity.end();
        self.0.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a reply; hyper drops it when it is sent.
pub(super) struct Guarded {
    body: Body,
    _guard: InFlight,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn quiet_is_counted_from_the_last_end_and_never_comes_in_a_request() {
        let activity = Activity::new();
        let opened = Instant::now();
        let requests = async {
            activity.begin();
            tokio::time::sleep(PATIENCE * 2).await;
            activity.end();
            activity.begin();
            tokio::time::sleep(PATIENCE / 2).await;
            activity.end();
        };
        tokio::join!(activity.quiet(PATIENCE), requests);
        assert!(opened.elapsed() >= PATIENCE * 7 / 2, "{:?}", opened.elapsed());
    }

    #[tokio::test]
    async fn a_connection_without_requests_is_silent_and_its_first_is_heard_of_at_once() {
        let (activity, opened) = (Activity::new(), Instant::now());
        activity.silent(PATIENCE).await;
        assert!(opened.elapsed() >= PATIENCE);
        let (heard, request) = (activity.begun(PATIENCE * 100), async { activity.begin() });
        let waiting = Instant::now();
        tokio::join!(heard, request);
        activity.begun(PATIENCE * 100).await;
        assert!(waiting.elapsed() < PATIENCE * 100);
        assert!(tokio::time::timeout(PATIENCE * 2, activity.silent(PATIENCE)).await.is_err());
    }
}
