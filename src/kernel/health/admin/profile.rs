//! `/admin/profile?seconds=N`: what the process spends its processor time on.

use std::time::Duration;

use axum::extract::RawQuery;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::refusal;
use crate::kernel::telemetry::profile::Turn;

/// For how many seconds is sampled where the caller does not say.
const DEFAULT_SECONDS: u64 = 10;
/// And at most.
const MOST_SECONDS: u64 = 60;

pub(super) async fn take(RawQuery(query): RawQuery) -> Response {
    let seconds = match seconds(query.as_deref().unwrap_or_default()) {
        Ok(seconds) => seconds,
        Err((field, reason)) => return refusal(StatusCode::BAD_REQUEST, &field, &reason),
    };
    let Some(turn) = Turn::take() else {
        return refusal(StatusCode::CONFLICT, "seconds", "another profile is being taken");
    };
    tracing::warn!(seconds, "a profile is being taken");
    match turn.profile(Duration::from_secs(seconds)).await {
        Ok(file) => {
            let headers = [
                (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
                (
                    CONTENT_DISPOSITION,
                    HeaderValue::from_static("attachment; filename=profile.pb.gz"),
                ),
            ];
            (headers, file).into_response()
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "the profile failed");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "profile", "failed; the log says why")
        }
    }
}

/// For how long is asked, or the field at fault and what is wrong with it.
fn seconds(query: &str) -> Result<u64, (String, String)> {
    let mut asked = DEFAULT_SECONDS;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name != "seconds" {
            return Err((name.into_owned(), "is not known: there is seconds".into()));
        }
        let number = value.parse().ok().filter(|seconds| (1..=MOST_SECONDS).contains(seconds));
        let reason = || format!("must be a whole number between 1 and {MOST_SECONDS}");
        asked = number.ok_or_else(|| ("seconds".to_owned(), reason()))?;
    }
    Ok(asked)
}
