//! Keeps the pages of other sites out, which a developer's browser shows on the same machine.
//!
//! A site can have its own name resolve to 127.0.0.1 and then counts as the same origin (DNS
//! rebinding); what it cannot do is to change the name that the browser states. So only requests to
//! `127.0.0.1` and `localhost` are answered. Without CORS headers no other origin reads an answer, and
//! the content security policy lets the page itself run and reach nothing but what came with it.

use axum::extract::Request;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// The names under which the page is reached. The port may be another: of a tunnel, for one.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Refuses requests to another name, and states the headers.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_for_us(request.uri(), request.headers()) {
        next.run(request).await
    } else {
        let why = "this is only for http://127.0.0.1 and http://localhost\n";
        (StatusCode::MISDIRECTED_REQUEST, why).into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// HTTP/2 states the name in the URI, HTTP/1.1 in a header, and some clients in both.
fn is_for_us(uri: &Uri, headers: &HeaderMap) -> bool {
    let stated = headers.get_all(header::HOST).iter();
    let hosts: Option<Vec<Authority>> =
        stated.map(|value| value.to_str().ok()?.parse().ok()).collect();
    let Some(hosts) = hosts else { return false };
    let mut names = hosts.iter().chain(uri.authority()).peekable();
    names.peek().is_some() && names.all(is_ours)
}

fn is_ours(authority: &Authority) -> bool {
    NAMES.contains(&authority.host()) && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str, hosts: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_static(host));
        }
        is_for_us(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        assert!(asked("/", &["127.0.0.1:8070"]) && asked("/", &["localhost:9000"]));
        assert!(asked("/", &["localhost"]) && asked("http://127.0.0.1:8071/x", &[]));
        for hosts in [
            &["evil.example"][..],
            &["evil.example:8070"],
            &["127.0.0.1.evil.example:8070"],
            &["localhost:8070", "evil.example"],
            &["localhost@evil.example"],
            &["evil@localhost"],
            &["not a name"],
            &[""],
            &[],
        ] {
            assert!(!asked("/", hosts), "{hosts:?}");
        }
        assert!(!asked("http://evil.example/x", &["localhost"]));
    }
}
