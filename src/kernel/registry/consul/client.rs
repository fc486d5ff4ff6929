//! Requests to the agent, and what may come of them.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kernel::registry::announced::Fault;
use crate::kernel::registry::tls::{Protocol, connector, origin};
use crate::kernel::settings::ConsulSettings;

/// The header that carries the ACL token.
const TOKEN_HEADER: &str = "x-consul-token";

/// The header that states the index of an answer.
const INDEX_HEADER: &str = "x-consul-index";

/// The header by which newer agents own up that the token hid something.
const FILTERED_HEADER: &str = "x-consul-results-filtered-by-acls";

/// The largest answer that is read.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Idle connections are given up soon: an agent takes 200 from one address, and there are many
/// processes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP API of one agent.
pub(super) struct ConsulClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    origin: Uri,
    token: Option<HeaderValue>,
    timeout: Duration,
    /// What a token must allow, for the message of a refusal.
    rules: String,
}

/// An answer of the agent.
pub(super) struct Answer<T> {
    pub(super) body: T,
    /// Where it stands in the agent's history; absent when the agent did not say.
    pub(super) index: Option<u64>,
}

impl ConsulClient {
    pub(super) fn new(settings: &ConsulSettings) -> anyhow::Result<Self> {
        let origin = origin("registry.consul.url", &settings.url)?;
        let timeout = settings.request_timeout;
        let connector = connector(&origin, &settings.tls, Protocol::Http1, timeout)
            .context("registry.consul.tls")?;
        let token = settings.token.expose();
        let token = (!token.is_empty()).then(|| HeaderValue::from_str(token)).transpose();
        let mut token = token.context("registry.consul.token is no token")?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Self {
            http: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(1)
                .build(connector),
            origin,
            token,
            timeout,
            rules: format!(
                "`service_prefix \"{}-\" {{ policy = \"write\" }}` and `node_prefix \"\" {{ \
                 policy = \"read\" }}`",
                settings.prefix
            ),
        })
    }

    /// Asks for something. The answer may take `wait` longer than other requests.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        wait: Duration,
    ) -> Result<Answer<T>, Fault> {
        let (index, body) = self.send(Method::GET, path, Bytes::new(), wait).await?;
        let body = serde_json::from_slice(&body)
            .with_context(|| format!("the answer to {path} is not what Consul answers"))
            .map_err(Fault::Away)?;
        Ok(Answer { body, index })
    }

    /// Tells something.
    pub(super) async fn put(&self, path: &str, body: &impl Serialize) -> Result<(), Fault> {
        let body = serde_json::to_vec(body).map_err(|error| Fault::Away(error.into()))?;
        self.send(Method::PUT, path, body.into(), Duration::ZERO).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        wait: Duration,
    ) -> Result<(Option<u64>, Bytes), Fault> {
        let exchange = self.exchange(method, path, body);
        match tokio::time::timeout(self.timeout + wait, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Away(anyhow::anyhow!("no answer to {path} in time"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Option<u64>, Bytes), Fault> {
        let request = self.request(method, path, body).map_err(Fault::Away)?;
        let reply = self.http.request(request).await;
        let reply = reply
            .with_context(|| format!("{} does not answer", self.origin))
            .map_err(Fault::Away)?;
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect().await;
        let body = body
            .map_err(|error| anyhow::anyhow!(error).context("the answer broke off"))
            .map_err(Fault::Away)?
            .to_bytes();
        if head.headers.get(FILTERED_HEADER).is_some_and(|filtered| filtered == "true") {
            return Err(self.refused("the token hides instances"));
        }
        let index = head.headers.get(INDEX_HEADER).and_then(|index| index.to_str().ok());
        let index = index.and_then(|index| index.parse().ok());
        match head.status {
            status if status.is_success() => Ok((index, body)),
            status => Err(self.fault(status, &body)),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut parts = self.origin.clone().into_parts();
        parts.path_and_query = Some(path.parse()?);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(parts)?;
        if let Some(token) = &self.token {
            request.headers_mut().insert(TOKEN_HEADER, token.clone());
        }
        Ok(request)
    }

    fn fault(&self, status: StatusCode, body: &[u8]) -> Fault {
        let text = String::from_utf8_lossy(body);
        match status {
            StatusCode::NOT_FOUND => Fault::NotFound,
            StatusCode::FORBIDDEN => self.refused(text.trim()),
            StatusCode::TOO_MANY_REQUESTS => Fault::Away(anyhow::anyhow!("{status}: {text}")),
            status if status.is_client_error() => Fault::Refused(format!("{status}: {text}")),
            status => Fault::Away(anyhow::anyhow!("{status}: {text}")),
        }
    }

    fn refused(&self, reason: &str) -> Fault {
        Fault::Refused(format!(
            "403: {reason}; registry.consul.token must be one whose policy has {}",
            self.rules
        ))
    }
}
