//! gRPC-Web, unwrapped to gRPC and wrapped again: tonic-web.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_TYPE};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::front::{self, Protocol};

/// Serves a request, in gRPC where it comes in gRPC-Web.
pub(super) async fn unwrapped<F>(
    mut request: Request,
    serve: impl FnOnce(Request) -> F + Clone + Send,
) -> Response
where
    F: Future<Output = Response> + Send,
{
    if request.extensions().get() != Some(&Protocol::Grpc { web: true }) {
        return serve(request).await;
    }
    let stated = front::media_type_in(request.headers(), &CONTENT_TYPE);
    // The codec is judged within, where a refusal is wrapped.
    let codec = stated.find('+').map_or("", |plus| &stated[plus..]);
    for name in [CONTENT_TYPE, ACCEPT] {
        let form = form(&front::media_type_in(request.headers(), &name));
        request.headers_mut().insert(name, form);
    }
    let within = HeaderValue::try_from(["application/grpc", codec].concat());
    let inner = service_fn(move |mut request: http::Request<tonic::body::Body>| {
        if let Ok(media_type) = &within {
            request.headers_mut().insert(CONTENT_TYPE, media_type.clone());
        }
        let served = (serve.clone())(request.map(Body::new));
        async move { Ok::<_, Infallible>(served.await) }
    });
    let Ok(response) = GrpcWebLayer::new().layer(inner).oneshot(request).await;
    response.map(Body::new)
}

/// The form that a media type names, in the one spelling that tonic-web knows.
fn form(media_type: &str) -> HeaderValue {
    HeaderValue::from_static(match media_type.starts_with("application/grpc-web-text") {
        true => "application/grpc-web-text",
        false => "application/grpc-web",
    })
}
