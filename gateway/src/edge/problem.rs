//! Refusals as problem details (RFC 9457), for callers who ask for them.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};

use crate::error::Refused;

const PROBLEM_JSON: &str = "application/problem+json";

/// Writes a refusal as `application/problem+json` where `Accept` names that media type.
pub(crate) async fn render<F: Future<Output = Response>>(
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let wanted = is_wanted(request.headers());
    let mut response = next(request).await;
    let Some(refused) = response.extensions().get::<Refused>() else { return response };
    let problem = wanted.then(|| refused.problem(response.status()).to_string());
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("accept"));
    if let Some(problem) = problem {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(problem);
    }
    response
}

/// Whether `Accept` (RFC 9110, section 12.5.1) names the media type, and not with a weight of 0. A
/// wildcard is served as it always was.
fn is_wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(PROBLEM_JSON));
        let mut weights = parts.filter_map(|part| part.split_once('='));
        let refused = weights.any(|(name, weight)| {
            name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0_f32)
        });
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_must_be_named() {
        let rows = [
            ("application/problem+json", true),
            ("application/json, Application/Problem+JSON;q=0.5", true),
            ("application/problem+json;charset=utf-8; q=1", true),
            ("application/problem+json;q=0", false),
            ("application/problem+json; q=0.000", false),
            ("*/*", false),
            ("application/*", false),
            ("application/problem+xml", false),
            ("", false),
        ];
        for (accept, wanted) in rows {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(is_wanted(&headers), wanted, "{accept}");
        }
        assert!(!is_wanted(&HeaderMap::new()));
    }
}
