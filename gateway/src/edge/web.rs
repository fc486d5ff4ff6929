//! gRPC-Web, unwrapped to gRPC and wrapped again: tonic-web.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::front::media_type;

/// Says of a gRPC request that its caller speaks gRPC-Web; an extension of the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromWeb;

/// Serves a request, in gRPC where it comes in gRPC-Web.
pub(super) async fn unwrapped<F>(
    mut request: Request,
    serve: impl FnOnce(Request) -> F + Clone + Send,
) -> Response
where
    F: Future<Output = Response> + Send,
{
    if !media_type(request.headers()).starts_with("application/grpc-web") {
        return serve(request).await;
    }
    request.extensions_mut().insert(FromWeb);
    let inner = service_fn(move |request: http::Request<tonic::body::Body>| {
        let served = (serve.clone())(request.map(Body::new));
        async move { Ok::<_, Infallible>(served.await) }
    });
    let Ok(response) = GrpcWebLayer::new().layer(inner).oneshot(request).await;
    response.map(Body::new)
}
