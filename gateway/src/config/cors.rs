//! Which web pages may call which routes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};
use url::Url;

/// What pages may do with the routes whose paths begin alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorsGroup {
    /// What the paths begin with, whole segments, such as `/api/v1/billing`; the longest that fits a
    /// path counts. No default.
    pub prefix: String,
    /// Origins whose pages may call, such as `https://app.example.com`; `*` is every origin. Default:
    /// none.
    pub origins: Vec<String>,
    /// The methods that they may use. Default: `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub methods: Vec<String>,
    /// The request headers that they may send. Default: those that the gateway reads.
    pub headers: Vec<String>,
    /// How long a browser may remember what was allowed. Default: `10m`.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
}

impl Default for CorsGroup {
    fn default() -> Self {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        let headers = [
            "authorization",
            "connect-protocol-version",
            "connect-timeout-ms",
            "content-type",
            "grpc-timeout",
            "idempotency-key",
            "if-match",
            "if-none-match",
            "last-event-id",
            "traceparent",
            "tracestate",
            "x-api-key",
            "x-grpc-web",
            "x-request-id",
            "x-request-timeout",
            "x-user-agent",
        ];
        Self {
            prefix: String::new(),
            origins: Vec::new(),
            methods: methods.map(str::to_owned).to_vec(),
            headers: headers.map(str::to_owned).to_vec(),
            max_age: Duration::from_secs(600),
        }
    }
}

impl CorsGroup {
    /// Refuses what no browser would understand; the message names the mend.
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        let prefix = &self.prefix;
        ensure!(
            prefix.starts_with('/') && !prefix.ends_with('/'),
            "gateway.cors_groups: the prefix `{prefix}` must begin with `/` and not end with it, such \
             as /api/v1/billing"
        );
        validate_origins(&self.origins)?;
        for method in &self.methods {
            Method::try_from(method.as_str())
                .with_context(|| format!("gateway.cors_groups: `{method}` is no HTTP method"))?;
        }
        for header in &self.headers {
            HeaderName::try_from(header.as_str())
                .with_context(|| format!("gateway.cors_groups: `{header}` is no header name"))?;
        }
        Ok(())
    }
}

/// Refuses what no browser sends as `Origin`.
pub(super) fn validate_origins(origins: &[String]) -> anyhow::Result<()> {
    for origin in origins.iter().filter(|origin| *origin != "*") {
        let sent = Url::parse(origin).ok().map(|url| url.origin().ascii_serialization());
        ensure!(
            sent.as_ref() == Some(origin),
            "`{origin}` is no origin: write scheme, host and port as a browser sends them, such as \
             https://app.example.com"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        let rows = [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("*", true),
            ("https://app.example.com/", false),
            ("https://app.example.com:443", false),
            ("https://APP.example.com", false),
            ("app.example.com", false),
            ("null", false),
            ("", false),
        ];
        for (origin, sound) in rows {
            assert_eq!(validate_origins(&[origin.to_owned()]).is_ok(), sound, "{origin}");
        }
    }
}
