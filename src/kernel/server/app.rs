//! What answers the requests of a listener.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tower::ServiceExt as _;

type Answer = dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync;

/// Answers requests: a router, or a function where routing is its own business, as at the edge.
#[derive(Clone)]
pub struct App(Arc<Answer>);

impl App {
    /// An application that is one function.
    pub fn new<F>(answer: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        Self(Arc::new(move |request| answer(request).boxed()))
    }

    pub(super) fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        (self.0)(request)
    }
}

impl From<Router> for App {
    fn from(router: Router) -> Self {
        Self::new(move |request| {
            let answered = router.clone().oneshot(request);
            async move {
                let Ok::<_, Infallible>(response) = answered.await;
                response
            }
        })
    }
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("App")
    }
}
