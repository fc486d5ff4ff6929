//! What happens on a connection: how many requests are in flight, and when there were none.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use super::listener::State;

/// What happens on a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    in_flight: usize,
    started: bool,
}

/// Ends when a connection has made no request at all for `patience`: it may be a client that sends
/// its first bytes one by one, or none.
pub(super) async fn silent(activity: &watch::Sender<Activity>, patience: Duration) {
    let mut activity = activity.subscribe();
    let started = activity.wait_for(|activity| activity.started);
    if tokio::time::timeout(patience, started).await.is_ok() {
        std::future::pending().await
    }
}

/// Ends when a connection has made its first request, or none for `patience`.
pub(super) async fn begun(activity: &watch::Sender<Activity>, patience: Duration) {
    let mut activity = activity.subscribe();
    let started = activity.wait_for(|activity| activity.started);
    // Whichever came first: the connection has had its chance.
    let _ = tokio::time::timeout(patience, started).await;
}

/// Ends when a connection has had no request in flight for `patience`.
pub(super) async fn quiet(activity: &watch::Sender<Activity>, patience: Duration) {
    let mut activity = activity.subscribe();
    loop {
        // The sender outlives this future: neither wait can fail.
        let _ = activity.wait_for(|activity| activity.in_flight == 0).await;
        if tokio::time::timeout(patience, activity.changed()).await.is_err() {
            return;
        }
    }
}

/// A request, from its headers to the last byte of its reply.
pub(super) struct InFlight {
    activity: Arc<watch::Sender<Activity>>,
    state: Arc<State>,
}

impl InFlight {
    pub(super) fn start(activity: &Arc<watch::Sender<Activity>>, state: &Arc<State>) -> Self {
        activity.send_modify(|activity| {
            activity.in_flight += 1;
            activity.started = true;
        });
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { activity: Arc::clone(activity), state: Arc::clone(state) }
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
        self.activity.send_modify(|activity| activity.in_flight -= 1);
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
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
