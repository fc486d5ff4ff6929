//! Keys that an issuer publishes at an address, as OpenID providers do with their `jwks_uri`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::JwkSet;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::KeySource;
use crate::kernel::error::{Error, Result};

/// The largest key set that is read, in bytes.
const MOST_BYTES: usize = 1024 * 1024;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A JSON Web Key Set (RFC 7517, section 5) behind an `http`, `https` or `file` address.
#[derive(Debug)]
pub struct PublishedKeys {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Web(Box<Web>),
    File(PathBuf),
}

#[derive(Debug)]
struct Web {
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl PublishedKeys {
    /// Keys at `url`. Redirections are not followed. `https` trusts the machine's authorities.
    ///
    /// # Errors
    ///
    /// When the address is of another kind, or the machine's authorities cannot be read.
    pub fn at(url: &str) -> anyhow::Result<Self> {
        if let Some(path) = url.strip_prefix("file://") {
            return Ok(Self { place: Place::File(path.into()) });
        }
        let mend = || format!("`{url}` is no address of keys: write https://, http:// or file://");
        let uri: Uri = url.parse().with_context(mend)?;
        ensure!(
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some(),
            mend()
        );
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?;
        let tls = match uri.scheme_str() {
            Some("https") => {
                tls.with_native_roots().context("the machine's authorities cannot be read")?
            }
            // Plaintext needs no authorities, and the machine may have none.
            _ => tls.with_root_certificates(RootCertStore::empty()),
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth()).https_or_http();
        let client = Client::builder(TokioExecutor::new())
            .build(connector.enable_http1().wrap_connector(tcp));
        Ok(Self { place: Place::Web(Box::new(Web { uri, client })) })
    }

    async fn read(&self) -> anyhow::Result<JwkSet> {
        let bytes = match &self.place {
            Place::File(path) => tokio::fs::read(path)
                .await
                .with_context(|| format!("{} cannot be read", path.display()))?
                .into(),
            Place::Web(web) => web.read().await?,
        };
        serde_json::from_slice(&bytes).context("it is no JSON Web Key Set")
    }
}

impl Web {
    async fn read(&self) -> anyhow::Result<Bytes> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let reply = self.client.request(request).await?;
        ensure!(reply.status().is_success(), "{} answered {}", self.uri, reply.status());
        let body = Limited::new(reply.into_body(), MOST_BYTES).collect().await;
        Ok(body.map_err(anyhow::Error::from_boxed)?.to_bytes())
    }
}

#[async_trait]
impl KeySource for PublishedKeys {
    async fn jwks(&self) -> Result<JwkSet> {
        self.read()
            .await
            .map_err(|error| Error::unavailable("the issuer's keys cannot be read").because(error))
    }
}
