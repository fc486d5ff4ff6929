//! A small REST client: JSON in and out over HTTP/1.1.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A client of one server, with or without an access token.
#[derive(Clone)]
pub struct Rest {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    bearer: Option<String>,
}

impl Rest {
    /// A client of the server at `host:port`.
    pub fn new(address: impl std::fmt::Display) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { base: format!("http://{address}"), client, bearer: None }
    }

    /// The same client with this access token.
    pub fn with_bearer(&self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.json(Method::POST, path, &body).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.json(Method::PATCH, path, &body).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// Any request; panics if the server cannot be reached.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Reply {
        let what = format!("{method} {}{path}", self.base);
        self.try_send(method, path, headers, body)
            .await
            .unwrap_or_else(|error| panic!("{what} was not answered: {error}"))
    }

    /// As [`Rest::send`], for servers that may be away.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = self.client.request(request.body(Full::new(body))?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        self.send(method, path, &json, body.to_string().into()).await
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics showing it if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }

    /// A header; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body, if the status is this one; panics showing the reply if not.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "the reply was {}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// `data` of the envelope, if the status is 2xx; panics showing the reply if not.
    pub fn data(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text());
        self.json()["data"].clone()
    }

    /// `error.code` of the envelope, if the status is this one; panics showing the reply if not.
    pub fn error_code(&self, status: u16) -> String {
        let body = self.expect(status);
        let code = body["error"]["code"].as_str();
        code.unwrap_or_else(|| panic!("no error code in {body}")).to_owned()
    }
}
