//! Questions to the API server, by its own interface, in somebody's name.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, DEFAULT_VERSIONS, RootCertStore};

use crate::chart::objects::text;
use crate::http::{Answer, Request};

/// The first questions have the server make what it answers from, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The API server, asked with one token.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) address: SocketAddr,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) token: String,
}

impl Api {
    /// One whose certificate this authority has signed.
    pub(super) fn new(address: SocketAddr, authority: &Path, token: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).context("no authority")?)?;
        let provider = Arc::new(ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(DEFAULT_VERSIONS)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: Arc::new(tls), token: token.to_owned() })
    }

    /// The same server, asked by somebody else.
    pub(super) fn by(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// An object.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        object(path, &self.ask(Request::get(path))?)
    }

    /// The objects of a list.
    pub(super) fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        match self.get(path)?["items"].take() {
            Value::Array(items) => Ok(items),
            _ => bail!("{path} is no list"),
        }
    }

    /// Makes an object; what the server made of it.
    pub(super) fn create(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        object(path, &self.ask(Request::post(path, body))?)
    }

    /// Puts an object in the place of what is there, unless that has been changed meanwhile, or is gone;
    /// says whether.
    pub(super) fn replace(&self, path: &str, body: &Value) -> anyhow::Result<bool> {
        let answer = self.ask(Request::put(path, body))?;
        if matches!(answer.status, 404 | 409) {
            return Ok(false);
        }
        object(path, &answer).map(|_| true)
    }

    /// Deletes an object at once, and then what belongs to it, which a Job leaves unless it is told; one
    /// that is gone is deleted already.
    pub(super) fn delete(&self, path: &str) -> anyhow::Result<()> {
        let now = format!("{path}?gracePeriodSeconds=0&propagationPolicy=Background");
        let answer = self.ask(Request::delete(&now))?;
        if answer.status == 404 {
            return Ok(());
        }
        object(path, &answer).map(drop)
    }

    /// With which status a question is answered.
    pub(super) fn status(&self, path: &str) -> anyhow::Result<u16> {
        Ok(self.ask(Request::get(path))?.status)
    }

    /// A token for a ServiceAccount, as its pods are given.
    pub(super) fn token(&self, namespace: &str, account: &str) -> anyhow::Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let asked = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"});
        let made = self.create(&path, &asked)?;
        let token = text(&made, "/status/token");
        ensure!(!token.is_empty(), "{account} got no token");
        Ok(token.to_owned())
    }

    fn ask(&self, request: Request<'_>) -> anyhow::Result<Answer> {
        let request = request.header("authorization", &format!("Bearer {}", self.token));
        let request = request.header("accept", "application/json").patience(PATIENCE);
        request.send_over_tls(self.address, &self.tls).context("the API server does not answer")
    }
}

/// The object of an answer; a refusal by its own words.
fn object(path: &str, answer: &Answer) -> anyhow::Result<Value> {
    let body: Value = serde_json::from_str(&answer.body)
        .with_context(|| format!("{path}: {} and no JSON: {}", answer.status, answer.body))?;
    ensure!(answer.status < 300, "{path}: {} {}", answer.status, text(&body, "/message"));
    Ok(body)
}
