//! Certificates of the mesh are renewed, and its authority is replaced, while everything runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mainstay::contract::audit::{self, AuditClient as _, GrpcAuditClient, proto};
use mainstay::kernel::channel::MeshChannel;
use mainstay::kernel::lifecycle::Running;
use mainstay::kernel::settings::{ChannelSettings, TlsSettings};
use mainstay::kernel::telemetry::Metrics;
use mainstay::kernel::tls::MeshIdentity;
use mainstay_testing::certificates::Authority;
use mainstay_testing::{NoSettings, Rest, TestMesh, as_user, eventually};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::{SlowTrail, sound_module};

const USER: &str = "0190a0a0-0000-7000-8000-000000000001";

async fn start(mesh: &TestMesh) -> Running {
    let trail = SlowTrail::new();
    mesh.start(audit::SERVICE, NoSettings {}, async |_| Ok(sound_module(trail))).await
}

async fn call(client: &GrpcAuditClient) -> mainstay::kernel::Result<()> {
    let request = proto::ListEventsRequest::default();
    as_user(USER, client.list_events(request)).await.map(drop)
}

/// The certificate that a server shows to a new connection of this member; `None` if one of the two
/// refuses the other.
async fn shown(address: SocketAddr, member: &TlsSettings) -> Option<CertificateDer<'static>> {
    let mut config = MeshIdentity::load(member).unwrap().unwrap().client_config();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(audit::SERVICE).unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.ok()?;
    // A server judges the client's certificate when the handshake is over for the client.
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.ok()?;
    stream.read_u8().await.ok()?;
    Some(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
}

fn leaf(settings: &TlsSettings) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(settings.cert_file.as_ref().unwrap()).unwrap()
}

/// Writes the certificate and the key of `from` over those of `to`.
fn replace(to: &TlsSettings, from: &TlsSettings) {
    for (to, from) in [(&to.cert_file, &from.cert_file), (&to.key_file, &from.key_file)] {
        std::fs::copy(from.as_ref().unwrap(), to.as_ref().unwrap()).unwrap();
    }
}

fn trust(file: &Path, authorities: &[&str]) {
    std::fs::write(file, authorities.concat()).unwrap();
}

#[tokio::test]
async fn the_authority_of_a_mesh_is_replaced_and_no_process_restarts() {
    let mesh = TestMesh::new();
    let running = start(&mesh).await;
    let address = running.local_addr();
    let of = |name| mesh.settings(name, NoSettings {}).kernel.tls;
    let (service, caller, probe) = (of(audit::SERVICE), of("gateway"), of("identity-svc"));
    let identity = MeshIdentity::load(&caller).unwrap().unwrap();
    let shutdown = CancellationToken::new();
    identity.spawn_reload(Metrics::new("test", "1"), shutdown.clone());
    let (registry, settings) = (mesh.registry(), ChannelSettings::default());
    let channel = MeshChannel::new(audit::SERVICE, Some(&identity), &**registry, &settings);
    let client = GrpcAuditClient::new(channel.unwrap());
    eventually("the service is found", async || call(&client).await.ok()).await;
    assert_eq!(shown(address, &probe).await, Some(leaf(&service)));

    let folder = tempfile::tempdir().unwrap();
    let next = Authority::new(folder.path());
    let (ca, new_ca) = (service.ca_file.as_ref().unwrap(), folder.path().join("ca.pem"));
    let (old_ca, new_ca) =
        (std::fs::read_to_string(ca).unwrap(), std::fs::read_to_string(new_ca).unwrap());
    let new_probe = next.settings("identity-svc");
    let outdated = shown(address, &new_probe).await;
    assert_eq!(outdated, None, "nobody knows the new authority, nor does it know anybody");

    trust(ca, &[&old_ca, &new_ca]);
    replace(&service, &next.settings(audit::SERVICE));
    replace(&caller, &next.settings("gateway"));
    eventually("the new certificate is shown", async || {
        (shown(address, &probe).await? == leaf(&service)).then_some(())
    })
    .await;
    call(&client).await.expect("its connection stays as it is");

    trust(ca, &[&new_ca]);
    let old_probe = tempfile::tempdir().unwrap();
    let of_old = TlsSettings { ca_file: Some(old_probe.path().join("ca.pem")), ..probe.clone() };
    trust(of_old.ca_file.as_ref().unwrap(), &[&old_ca, &new_ca]);
    eventually("who has a certificate of the old authority is refused", async || {
        shown(address, &of_old).await.is_none().then_some(())
    })
    .await;
    assert_eq!(shown(address, &new_probe).await, Some(leaf(&service)));
    // The channel is older than all of this, and has to connect anew.
    running.drain().await;
    let running = start(&mesh).await;
    eventually("the service is found again", async || call(&client).await.ok()).await;
    shutdown.cancel();
    running.drain().await;
}

#[tokio::test]
async fn a_certificate_of_another_name_or_with_another_key_is_not_taken() {
    let mesh = TestMesh::new();
    let running = start(&mesh).await;
    let (address, admin) = (running.local_addr(), Rest::new(running.admin_addr()));
    let of = |name| mesh.settings(name, NoSettings {}).kernel.tls;
    let (service, other) = (of(audit::SERVICE), of("billing-svc"));
    let held = leaf(&service);
    let key = std::fs::read(service.key_file.as_ref().unwrap()).unwrap();
    let certificate = std::fs::read(service.cert_file.as_ref().unwrap()).unwrap();
    let put = |certificate: &[u8], key: &[u8]| {
        std::fs::write(service.cert_file.as_ref().unwrap(), certificate).unwrap();
        std::fs::write(service.key_file.as_ref().unwrap(), key).unwrap();
    };
    let refused = async |wanted: u8| {
        let line = format!("mainstay_certificate_refused{{certificate=\"mesh\"}} {wanted}");
        eventually(&line, async || {
            admin.get("/metrics").await.text().contains(&line).then_some(())
        })
        .await;
    };

    refused(0).await;
    replace(&service, &other);
    refused(1).await;
    assert_eq!(shown(address, &other).await, Some(held.clone()), "billing's is not taken");
    put(&certificate, &key);
    refused(0).await;
    put(&certificate, b"nonsense");
    refused(1).await;
    assert_eq!(shown(address, &other).await, Some(held));
    std::fs::remove_file(service.key_file.as_ref().unwrap()).unwrap();
    refused(1).await;
    put(&certificate, &key);
    refused(0).await;
    running.drain().await;
}
