//! The page: files of its own, so that its content security policy needs no exception.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Where a file is found, what it is, and what it holds.
const FILES: [(&str, &str, &str); 11] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", CSS, include_str!("page/style.css")),
    ("/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/text.js", SCRIPT, include_str!("page/text.js")),
    ("/traces.js", SCRIPT, include_str!("page/traces.js")),
    ("/trace.js", SCRIPT, include_str!("page/trace.js")),
    ("/span.js", SCRIPT, include_str!("page/span.js")),
    ("/metrics.js", SCRIPT, include_str!("page/metrics.js")),
    ("/logs.js", SCRIPT, include_str!("page/logs.js")),
];

/// What answers with the files.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(|| async { ([(CONTENT_TYPE, *kind)], *text).into_response() }))
    })
}
