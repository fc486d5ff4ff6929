//! Reports by the protocol of Sentry, which several programs take: one envelope with one event.
//!
//! The protocol is one POST, and the HTTP client is there anyway; Sentry's own crates bring a hub, scopes and
//! a transport of their own, of which nothing would be used.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use url::Url;

use super::{Report, Reporter, Undelivered};
use crate::kernel::error::ErrorClass;

/// How long sending one may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// For how long nothing is sent where there were too many and the receiver does not say.
const PAUSE: Duration = Duration::from_secs(60);
/// The header that says whose reports these are.
const AUTH: &str = "x-sentry-auth";

/// A receiver that speaks Sentry's protocol.
pub struct Sentry {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    auth: HeaderValue,
}

impl Sentry {
    /// The receiver that a DSN names: `https://KEY@HOST/PROJECT`.
    ///
    /// # Errors
    /// When it is no DSN; the message does not repeat it.
    pub fn new(dsn: &str, version: &str) -> anyhow::Result<Self> {
        let (endpoint, key) = read(dsn)
            .context("telemetry.reporter.dsn is no DSN such as https://KEY@HOST/PROJECT")?;
        let auth =
            format!("Sentry sentry_version=7, sentry_client=mainstay/{version}, sentry_key={key}");
        let mut auth = HeaderValue::from_str(&auth)?;
        auth.set_sensitive(true);
        let tls = rustls::ClientConfig::builder_with_provider(
            rustls::crypto::ring::default_provider().into(),
        );
        let tls = tls.with_safe_default_protocol_versions()?.with_native_roots()?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, endpoint, auth })
    }

    async fn send(&self, report: &Report) -> anyhow::Result<(StatusCode, Option<Duration>)> {
        let request = Request::post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-sentry-envelope")
            .header(AUTH, self.auth.clone())
            .body(Full::new(envelope(report)))?;
        let reply = tokio::time::timeout(TIMEOUT, self.client.request(request)).await??;
        let after = reply.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
        let after = after.and_then(|after| after.parse().ok()).map(Duration::from_secs);
        Ok((reply.status(), after))
    }
}

#[async_trait]
impl Reporter for Sentry {
    async fn report(&self, report: &Report) -> Result<(), Undelivered> {
        match self.send(report).await.map_err(Undelivered::Lost)? {
            (status, _) if status.is_success() => Ok(()),
            (StatusCode::TOO_MANY_REQUESTS, after) => {
                Err(Undelivered::Pause(after.unwrap_or(PAUSE)))
            }
            (status, _) => Err(Undelivered::Lost(anyhow!("the receiver answers {status}"))),
        }
    }
}

/// Where envelopes go, and the key.
fn read(dsn: &str) -> Option<(Uri, String)> {
    let mut url = Url::parse(dsn).ok().filter(|url| ["http", "https"].contains(&url.scheme()))?;
    let key = Some(url.username().to_owned()).filter(|key| !key.is_empty())?;
    let (prefix, project) = url.path().rsplit_once('/')?;
    let path = Some(project).filter(|project| !project.is_empty())?;
    let path = format!("{prefix}/api/{path}/envelope/");
    url.set_path(&path);
    url.set_username("").and_then(|()| url.set_password(None)).ok()?;
    Some((url.as_str().parse().ok()?, key))
}

/// The envelope: a line about it, a line about its one item, and the item.
fn envelope(report: &Report) -> Bytes {
    let event = event(report).to_string();
    let head = json!({ "event_id": report.id.simple().to_string(), "sent_at": report.time });
    let item =
        json!({ "type": "event", "content_type": "application/json", "length": event.len() });
    format!("{head}\n{item}\n{event}\n").into()
}

fn event(report: &Report) -> Value {
    let value = match &report.cause {
        Some(cause) => format!("{}: {cause}", report.message),
        None => report.message.clone(),
    };
    let ids = &report.ids;
    json!({
        "event_id": report.id.simple().to_string(),
        "timestamp": report.time,
        "platform": "native",
        "level": if report.class == ErrorClass::Panic { "fatal" } else { "error" },
        "logger": report.module,
        "release": format!("{}@{}", report.service, report.version),
        "environment": report.environment,
        "fingerprint": [report.service, report.place],
        "exception": { "values": [{ "type": report.class.as_str(), "value": value }] },
        "tags": {
            "service": report.service,
            "class": report.class.as_str(),
            "request_id": ids.get("request_id"),
        },
        "user": ids.get("subject").map(|subject| json!({ "id": subject })),
        "contexts": { "trace": {
            "trace_id": ids.get("trace_id"), "span_id": ids.get("span_id"), "type": "trace",
        } },
        "extra": {
            "place": report.place,
            "backtrace": report.backtrace,
            "left_out": report.left_out,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dsn_says_where_to_and_whose() {
        let rows = [
            ("https://abc@errors.example.com/42", "https://errors.example.com/api/42/envelope/"),
            ("http://abc:old@127.0.0.1:9000/at/7", "http://127.0.0.1:9000/at/api/7/envelope/"),
        ];
        for (dsn, endpoint) in rows {
            let (uri, key) = read(dsn).unwrap_or_else(|| panic!("{dsn}"));
            assert_eq!((uri.to_string().as_str(), key.as_str()), (endpoint, "abc"));
        }
        for no_dsn in
            ["", "abc", "https://errors.example.com/42", "https://abc@host/", "ftp://a@b/1"]
        {
            assert!(read(no_dsn).is_none(), "{no_dsn}");
        }
    }
}
