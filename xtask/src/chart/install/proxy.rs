//! Stands before the API server on loopback and adds a token to every question, as `kubectl proxy` does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::api::Api;

/// The longest head of a request that is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Where a head ends.
const END: &[u8] = b"\r\n\r\n";

/// Listens until the runtime ends.
pub(super) async fn start(api: &Api) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let api = api.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let api = api.clone();
            // A client that fails here says so itself.
            tokio::spawn(async move { serve(client, &api).await });
        }
    });
    Ok(address)
}

/// One question and its answer, then the end: a connection that went on would bring further questions
/// without a token.
async fn serve(mut client: TcpStream, api: &Api) -> anyhow::Result<()> {
    let asked = head(&mut client).await?;
    let connector = TlsConnector::from(Arc::clone(&api.tls));
    let server = TcpStream::connect(api.address).await?;
    let name = ServerName::from(api.address.ip());
    let mut server = connector.connect(name, server).await?;
    server.write_all(&with_token(&asked, &api.token).context("no HTTP")?).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The head of a request, and what came with it.
async fn head(client: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut read = Vec::new();
    while !read.windows(END.len()).any(|bytes| bytes == END) {
        ensure!(read.len() < MAX_HEAD_BYTES, "a head without an end");
        ensure!(client.read_buf(&mut read).await? > 0, "the client has gone");
    }
    Ok(read)
}

/// The request with a token and the wish for the connection's end, after its first line.
fn with_token(asked: &[u8], token: &str) -> Option<Vec<u8>> {
    let first = asked.windows(2).position(|bytes| bytes == b"\r\n")? + 2;
    let (line, rest) = asked.split_at(first);
    let added = format!("authorization: Bearer {token}\r\nconnection: close\r\n");
    Some([line, added.as_bytes(), rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_gets_a_token_and_keeps_all_else() {
        let asked = with_token(b"GET /api HTTP/1.1\r\nhost: a\r\n\r\n{}", "secret").unwrap();
        let expected = b"GET /api HTTP/1.1\r\nauthorization: Bearer secret\r\n\
            connection: close\r\nhost: a\r\n\r\n{}";
        assert_eq!(asked, expected);
        assert_eq!(with_token(b"nothing", "secret"), None);
    }
}
