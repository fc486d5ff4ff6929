//! What the gateway answers itself: `/openapi.json` and `/docs`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use mainstay::kernel::error::Error;
use mainstay::kernel::policy::EdgeStyle;

use super::observe::Answered;
use super::{caching, compression, request_id};
use crate::error::{self, ALLOW_DETAIL, METHOD_NOT_ALLOWED};
use crate::route::RouteTable;
use crate::{docs, openapi};

const ALLOWED: &str = "GET, HEAD, OPTIONS";

/// The pages, with the last OpenAPI document kept until the routes change.
pub(crate) struct OwnPages {
    document: Mutex<Option<(u64, Bytes)>>,
    explorer: docs::Explorer,
}

impl OwnPages {
    /// The pages.
    pub(crate) fn new() -> Self {
        Self { document: Mutex::default(), explorer: docs::Explorer::new() }
    }

    /// The reply, if the request is for one of the pages. A contract made elsewhere is served as it is, and
    /// may have a path of ours.
    pub(crate) fn answer(&self, table: &Arc<RouteTable>, request: &Request) -> Option<Response> {
        let path = match request.uri().path() {
            "/openapi.json" => "/openapi.json",
            "/docs" => "/docs",
            _ => return None,
        };
        let route = table.find(request.method(), path);
        if route.is_ok_and(|target| target.route.rpc.policy.style == EdgeStyle::Plain) {
            return None;
        }
        let mut response = match *request.method() {
            Method::GET | Method::HEAD if path == "/docs" => self.explorer_page(),
            Method::GET | Method::HEAD => {
                caching::not_modified(request.headers(), self.openapi_document(table))
            }
            Method::OPTIONS => {
                let mut response = page("text/plain", Bytes::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
                response
            }
            _ => {
                let message = format!("{} is not allowed here, but {ALLOWED}", request.method());
                let error = Error::new(METHOD_NOT_ALLOWED, message).detail(ALLOW_DETAIL, ALLOWED);
                error::response(&error, &request_id::current())
            }
        };
        if compression::is_content(response.status()) {
            compression::allow_always(&mut response);
        }
        response.extensions_mut().insert(Answered::Own(path));
        Some(response)
    }

    fn explorer_page(&self) -> Response {
        let mut response = page("text/html; charset=utf-8", self.explorer.page());
        let policy = self.explorer.security_policy();
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let frames = HeaderName::from_static("x-frame-options");
        headers.insert(frames, HeaderValue::from_static("DENY"));
        response
    }

    fn openapi_document(&self, table: &RouteTable) -> Response {
        let mut kept = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        let document = match &*kept {
            Some((version, document)) if *version == table.version => document.clone(),
            _ => {
                let document = Bytes::from(openapi::document(table).to_string());
                *kept = Some((table.version, document.clone()));
                document
            }
        };
        let tag = caching::weak_tag(&document);
        let mut response = page("application/json", document);
        response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
        response
    }
}

fn page(content_type: &'static str, content: Bytes) -> Response {
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
