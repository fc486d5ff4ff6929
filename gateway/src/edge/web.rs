//! gRPC-Web, unwrapped to gRPC and wrapped again: tonic-web.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::front::Protocol;

/// Serves a request, in gRPC where it comes in gRPC-Web.
pub(super) async fn unwrapped<F>(
    request: Request,
    serve: impl FnOnce(Request) -> F + Clone + Send,
) -> Response
where
    F: Future<Output = Response> + Send,
{
    if request.extensions().get() != Some(&Protocol::Grpc { web: true }) {
        return serve(request).await;
    }
    let inner = service_fn(move |request: http::Request<tonic::body::Body>| {
        let served = (serve.clone())(request.map(Body::new));
        async move { Ok::<_, Infallible>(served.await) }
    });
    let Ok(response) = GrpcWebLayer::new().layer(inner).oneshot(request).await;
    response.map(Body::new)
}
