//! One HTTP exchange, as small as it can be: what questions on loopback need and no client library.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

/// An answer slower than this counts as none, unless a request says otherwise. Everything asked is on loopback.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The most of an answer that is read.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
}

/// A request; its answer is read until the server closes.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
    body: String,
    patience: Duration,
}

impl<'a> Request<'a> {
    /// A GET.
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: Vec::new(), body: String::new(), patience: PATIENCE }
    }

    /// A PUT of some JSON.
    pub(crate) fn put(path: &'a str, body: &serde_json::Value) -> Self {
        Self { method: "PUT", body: body.to_string(), ..Self::get(path) }
    }

    /// A DELETE.
    pub(crate) fn delete(path: &'a str) -> Self {
        Self { method: "DELETE", ..Self::get(path) }
    }

    /// A POST of some JSON.
    pub(crate) fn post(path: &'a str, body: &serde_json::Value) -> Self {
        Self { method: "POST", ..Self::put(path, body) }
    }

    /// A PATCH of some JSON.
    pub(crate) fn patch(path: &'a str, body: &serde_json::Value) -> Self {
        Self { method: "PATCH", ..Self::put(path, body) }
    }

    /// Waits longer than usual for the answer.
    pub(crate) fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// With a header; `host` takes the place of the address.
    pub(crate) fn header(mut self, name: &'a str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Sends it.
    pub(crate) fn send(&self, address: SocketAddr) -> std::io::Result<Answer> {
        self.exchange(self.connect(address)?, address)
    }

    /// Sends it by TLS; the certificate is to name the address.
    pub(crate) fn send_over_tls(
        &self,
        address: SocketAddr,
        tls: &Arc<ClientConfig>,
    ) -> std::io::Result<Answer> {
        let name = ServerName::from(address.ip());
        let session =
            ClientConnection::new(Arc::clone(tls), name).map_err(std::io::Error::other)?;
        self.exchange(StreamOwned::new(session, self.connect(address)?), address)
    }

    fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        Ok(stream)
    }

    fn exchange(
        &self,
        mut stream: impl Read + Write,
        address: SocketAddr,
    ) -> std::io::Result<Answer> {
        // One write, one packet: nothing of the request is left unread when the answer comes.
        stream.write_all(self.text(address).as_bytes())?;
        stream.flush()?;
        let mut answer = Vec::new();
        match stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer) {
            // Who closes without a word has said all that HTTP/1.0 needs.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            read => drop(read?),
        }
        parse(&String::from_utf8_lossy(&answer))
            .ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
    }

    /// HTTP/1.0, in which a body is never chunked and its end is the end of the connection.
    fn text(&self, address: SocketAddr) -> String {
        let Self { method, path, body, .. } = self;
        let mut text = format!("{method} {path} HTTP/1.0\r\n");
        if !self.headers.iter().any(|(name, _)| *name == "host") {
            text.push_str(&format!("host: {address}\r\n"));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            let length = body.len();
            text.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            ));
        }
        text.push_str("\r\n");
        text.push_str(body);
        text
    }
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_states_its_headers_and_the_length_of_its_body() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let get = Request::get("/readyz").header("x-token", "t").text(address);
        assert_eq!(get, "GET /readyz HTTP/1.0\r\nhost: 127.0.0.1:80\r\nx-token: t\r\n\r\n");
        let named = Request::get("/").header("host", "api.example.com").text(address);
        assert_eq!(named, "GET / HTTP/1.0\r\nhost: api.example.com\r\n\r\n");
        let put = Request::put("/v1/kv", &serde_json::json!({"a": 1})).text(address);
        assert!(put.ends_with("content-length: 7\r\n\r\n{\"a\":1}"), "{put}");
    }

    #[test]
    fn an_answer_is_status_and_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\ndatabase").unwrap();
        assert_eq!(answer, Answer { status: 503, body: "database".to_owned() });
        assert_eq!(parse("SSH-2.0-OpenSSH\r\n\r\n"), None);
    }
}
