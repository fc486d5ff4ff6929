//! Refusals of the outer stages, which know REST alone, in the protocol of the caller.
//!
//! Which protocol that is, is found out here and stands among the request's extensions. The limit by address,
//! and the guard that catches a panic, stand before it is known what a request is for.

use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::front::{self, Protocol};
use super::{Edge, grpc};
use crate::error::Refused;

/// Finds the protocol, and rewrites a refusal that is written for REST.
pub(crate) async fn translate<F: Future<Output = Response>>(
    edge: &Edge,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let media_type = request.headers().get(CONTENT_TYPE).cloned();
    let protocol = front::protocol(&edge.live.load(), &request);
    request.extensions_mut().insert(protocol);
    let response = next(request).await;
    let refused = response.extensions().get::<Refused>().filter(|_| protocol != Protocol::Rest);
    let Some(error) = refused.map(Refused::error) else { return response };
    let mut spoken = match protocol {
        // Outside of what frames trailers, the status stands in the headers.
        Protocol::Grpc { .. } => grpc::refusal(&error, false),
        _ => front::refuse(protocol, &error, refused.map_or("", Refused::request_id)),
    };
    if let Some(media_type) = media_type.filter(|_| protocol == Protocol::Grpc { web: true }) {
        spoken.headers_mut().insert(CONTENT_TYPE, media_type);
    }
    let (head, _) = response.into_parts();
    for (name, value) in &head.headers {
        if ![CONTENT_TYPE, CONTENT_LENGTH].contains(name) {
            spoken.headers_mut().insert(name.clone(), value.clone());
        }
    }
    spoken
}
