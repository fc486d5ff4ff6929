//! TLS in front of servers that speak without: production's URLs ask for it, and name an authority.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{DEFAULT_VERSIONS, ServerConfig};

use crate::certificates::Certificates;

/// Whom the certificate is for; its address is loopback.
const IDENTITY: &str = "servers";

/// How a client of PostgreSQL asks for TLS (its protocol, section "SSL Session Encryption").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The letter that grants it.
const GRANTED: &[u8] = b"S";

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// With TLS.
    Tls,
    /// With the question for it; who does not ask is turned away.
    Postgres,
}

/// Listens on loopback before a server, until the runtime ends.
pub(super) fn start(
    runtime: &Handle,
    certificates: &Certificates,
    server: &str,
    opening: Opening,
) -> anyhow::Result<SocketAddr> {
    certificates.ensure([IDENTITY])?;
    let acceptor = acceptor(certificates)?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let server = server.to_owned();
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            // A client that fails here says so itself.
            tokio::spawn(async move { serve(client, &acceptor, &server, opening).await });
        }
    });
    Ok(address)
}

fn acceptor(certificates: &Certificates) -> anyhow::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(certificates.certificate(IDENTITY));
    let key = PrivateKeyDer::from_pem_file(certificates.key(IDENTITY));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(DEFAULT_VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.context("no certificate")?], key.context("no key")?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(
    mut client: TcpStream,
    acceptor: &TlsAcceptor,
    server: &str,
    opening: Opening,
) -> anyhow::Result<()> {
    if opening == Opening::Postgres {
        let mut asked = [0; SSL_REQUEST.len()];
        client.read_exact(&mut asked).await?;
        ensure!(asked == SSL_REQUEST, "a client that does not ask for TLS");
        client.write_all(GRANTED).await?;
    }
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(server).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_client_of_postgresql_that_does_not_ask_for_tls_is_turned_away() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::at(folder.path().to_owned());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let start = |opening| start(runtime.handle(), &certificates, "127.0.0.1:9", opening);
        let address = start(Opening::Postgres).unwrap();
        let answered = |asked: &[u8; 8]| {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client.write_all(asked).unwrap();
            let mut answer = [0; 1];
            client.read(&mut answer).map(|count| answer[..count].to_vec()).unwrap_or_default()
        };
        assert_eq!(answered(&SSL_REQUEST), GRANTED);
        assert_eq!(answered(b"\0\0\0\x08word"), b"");
    }
}
