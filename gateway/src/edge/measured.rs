//! Bodies whose length nobody announces: counted as they pass.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use mainstay::kernel::telemetry::metrics::{Active, HttpSizes};

/// How long the body of a request is, once it has been read.
#[derive(Debug)]
pub(super) enum RequestSize {
    /// As announced.
    Announced(u64),
    /// As far as it has been read.
    Read(Arc<AtomicU64>),
}

impl RequestSize {
    /// Of this request; one whose length is not announced is counted from here on.
    pub(super) fn of(request: Request) -> (Self, Request) {
        if let Some(bytes) = request.body().size_hint().exact() {
            return (Self::Announced(bytes), request);
        }
        let read = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&read);
        let request = request
            .map(|body| Body::new(Counted { body, count: move |bytes| add(&counted, bytes) }));
        (Self::Read(read), request)
    }

    /// The bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Announced(bytes) => *bytes,
            Self::Read(read) => read.load(Ordering::Relaxed),
        }
    }
}

/// Notes the sizes of a request and its reply. Where the reply is a stream this is done at its end, and so
/// long the request is active.
pub(super) fn note_sizes(
    response: Response,
    request: RequestSize,
    sizes: &HttpSizes,
    active: Active,
) -> Response {
    if let Some(bytes) = response.body().size_hint().exact() {
        sizes.request(request.bytes());
        sizes.response(bytes);
        return response;
    }
    let mut end = End { request, sizes: sizes.clone(), sent: 0, _active: active };
    response.map(|body| Body::new(Counted { body, count: move |bytes| end.add(bytes) }))
}

/// What is noted when a streamed reply is over, or its reader is gone.
struct End {
    request: RequestSize,
    sizes: HttpSizes,
    sent: u64,
    _active: Active,
}

impl End {
    fn add(&mut self, bytes: u64) {
        self.sent += bytes;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.sizes.request(self.request.bytes());
        self.sizes.response(self.sent);
    }
}

/// A body that tells how many bytes have passed.
struct Counted<F> {
    body: Body,
    count: F,
}

impl<F: FnMut(u64) + Unpin> HttpBody for Counted<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            (this.count)(data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn add(total: &AtomicU64, bytes: u64) {
    total.fetch_add(bytes, Ordering::Relaxed);
}
