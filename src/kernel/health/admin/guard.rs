//! Who may not ask: pages in a browser.
//!
//! A page of the world that an operator has open can send requests to an address that only the operator
//! reaches. Browsers say so by a header, and programs do not send it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};

use super::refusal;
use http::StatusCode;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a page sends to anything below `/admin/`. Probes and metrics are for everyone.
pub(super) async fn refuse_pages(request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/admin/") && is_of_page(request.headers()) {
        let reason = "pages in a browser may not ask here";
        return refusal(StatusCode::FORBIDDEN, "Origin", reason);
    }
    next.run(request).await
}

/// Whether a page has sent it; `none` is an address that somebody typed.
fn is_of_page(headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    headers.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none")
}
