//! Consul: the contract, health as the agent sees it, tokens, TLS, and outages under load.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay::contract::authz;
use mainstay::kernel::health::{Readiness, grpc_health};
use mainstay::kernel::registry::{ConsulRegistry, Registration, Registry};
use mainstay::kernel::server::{Listener, Serving};
use mainstay::kernel::settings::{
    ConsulCheck, ConsulSettings, RegistryKind, RegistrySettings, ServerLimits,
};
use mainstay::kernel::tls::{MeshIdentity, ServerTls};
use mainstay_testing::certificates::Authority;
use mainstay_testing::{FakeAuthz, Rest, TestMesh, within};

use super::load::Load;
use super::suite::{addresses, contract, instance, sees};
use crate::servers::consul::PrivateConsul;
use crate::servers::free_port;

/// How soon everything must be as before when Consul is back.
const RECOVERY: Duration = Duration::from_secs(15);

/// How long what a restarted Consul does not list is kept, in these stories.
const GRACE: Duration = Duration::from_secs(8);

/// The run's Consul, with names of the story's own.
fn settings(check: ConsulCheck) -> ConsulSettings {
    let consul = &crate::infra().consul;
    ConsulSettings {
        url: consul.url.clone(),
        token: consul.token.clone().into(),
        prefix: format!("test-{}", uuid::Uuid::now_v7().simple()),
        check,
        ..ConsulSettings::default()
    }
}

async fn open(settings: &ConsulSettings, readiness: &Readiness) -> ConsulRegistry {
    ConsulRegistry::open(settings, GRACE, readiness).await.unwrap()
}

fn ready() -> Readiness {
    let readiness = Readiness::default();
    readiness.set_ready();
    readiness
}

/// An agent of the story's own, which takes registrations.
async fn private(config: &str, check: ConsulCheck) -> (PrivateConsul, ConsulSettings) {
    let consul = PrivateConsul::start(config);
    let url = consul.url().to_owned();
    let settings = ConsulSettings { url, check, ..ConsulSettings::default() };
    takes_registrations(&settings).await;
    (consul, settings)
}

/// Waits until an agent takes registrations.
async fn takes_registrations(settings: &ConsulSettings) {
    let registry = open(settings, &ready()).await;
    within(RECOVERY, "consul has a leader", async || {
        let registered = registry.register(instance("probe-svc", "1", "h:1")).await.unwrap();
        let mut watch = registry.watch();
        let seen = watch.wait_for(|snapshot| snapshot.contains_key("probe-svc"));
        let seen = tokio::time::timeout(Duration::from_secs(1), seen).await.is_ok();
        registered.deregister().await.is_ok().then_some(())?;
        seen.then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_contract_is_kept() {
    let settings = settings(ConsulCheck::Ttl);
    contract(async || open(&settings, &ready()).await).await;
}

#[tokio::test]
async fn platforms_with_names_that_begin_alike_do_not_see_each_other() {
    let ours = settings(ConsulCheck::Ttl);
    let theirs = ConsulSettings { prefix: format!("{}-a", ours.prefix), ..ours.clone() };
    let (our_registry, their_registry) =
        (open(&ours, &ready()).await, open(&theirs, &ready()).await);
    let our_instance = our_registry.register(instance("a-svc", "1", "h:1")).await.unwrap();
    let their_instance = their_registry.register(instance("svc", "2", "h:2")).await.unwrap();
    sees(&mut our_registry.watch(), "a-svc", &["h:1"]).await;
    sees(&mut their_registry.watch(), "svc", &["h:2"]).await;
    assert_eq!(our_registry.watch().borrow().len(), 1);
    assert_eq!(their_registry.watch().borrow().len(), 1);
    our_instance.deregister().await.unwrap();
    their_instance.deregister().await.unwrap();
}

#[tokio::test]
async fn the_agent_asks_a_service_of_the_mesh_for_its_health() {
    let settings = settings(ConsulCheck::Grpc);
    let mesh = TestMesh::with_registry(RegistrySettings {
        kind: RegistryKind::Consul,
        consul: settings.clone(),
        ..RegistrySettings::default()
    });
    let running = FakeAuthz::start(&mesh, |_, _, _| true).await;
    let mut watch = mesh.registry().watch();
    sees(&mut watch, authz::SERVICE, &[&running.local_addr().to_string()]).await;

    // Long enough for the agent to have asked: it listens without certificates on its admin port.
    let critical = watch.wait_for(|snapshot| snapshot.is_empty());
    assert!(tokio::time::timeout(Duration::from_secs(4), critical).await.is_err(), "it is healthy");

    drop(running);
    sees(&mut watch, authz::SERVICE, &[]).await;
}

#[tokio::test]
async fn a_process_that_tells_its_own_health_is_seen_while_it_is_ready() {
    let settings = settings(ConsulCheck::Ttl);
    let readiness = ready();
    let registry = open(&settings, &readiness).await;
    let mut watch = registry.watch();
    let registration = registry.register(instance("a-svc", "1", "h:1")).await.unwrap();
    sees(&mut watch, "a-svc", &["h:1"]).await;

    let broken = Arc::new(AtomicBool::new(true));
    let check = Arc::clone(&broken);
    readiness.add("database", move || {
        let broken = check.load(Ordering::Relaxed);
        async move { if broken { Err("it is away".to_owned()) } else { Ok(()) } }
    });
    sees(&mut watch, "a-svc", &[]).await;
    broken.store(false, Ordering::Relaxed);
    sees(&mut watch, "a-svc", &["h:1"]).await;

    drop(registration);
    sees(&mut watch, "a-svc", &[]).await;
}

#[tokio::test]
async fn a_token_that_may_not_is_refused_with_the_policy_it_lacks() {
    let wrong = ConsulSettings { token: "".into(), ..settings(ConsulCheck::Ttl) };
    let registry = open(&wrong, &ready()).await;
    let refused = registry.register(instance("a-svc", "1", "h:1")).await.err().unwrap();
    let message = refused.to_string();
    for part in ["403", "registry.consul.token", "service_prefix", &wrong.prefix, "node_prefix"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn an_agent_with_certificates_asks_the_service_itself_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    // The name that Consul gives a server of its data center, and a host for the API.
    let own = authority.settings("localhost");
    let port = free_port();
    let path = |file: &Option<PathBuf>| file.as_ref().unwrap().display().to_string();
    let config = format!(
        r#"ca_file = "{}" cert_file = "{}" key_file = "{}"
        verify_incoming_https = true enable_agent_tls_for_checks = true"#,
        path(&own.ca_file),
        path(&own.cert_file),
        path(&own.key_file)
    );
    let ports = ["-http-port", "-1", "-https-port", &port.to_string()];
    let consul = PrivateConsul::serve(&format!("https://localhost:{port}"), &ports, &config);
    let mut settings = ConsulSettings {
        url: consul.url().to_owned(),
        check: ConsulCheck::Ttl,
        ..ConsulSettings::default()
    };
    settings.tls.ca_file = own.ca_file.clone();
    settings.tls.cert_file = own.cert_file.clone();
    settings.tls.key_file = own.key_file.clone();
    takes_registrations(&settings).await;

    let service = healthy_service(&authority).await;
    settings.check = ConsulCheck::GrpcTls;
    let registry = open(&settings, &ready()).await;
    let address = service.local_addr().to_string();
    let registration = registry.register(instance("a-svc", "1", &address)).await.unwrap();
    let mut watch = registry.watch();
    sees(&mut watch, "a-svc", &[&address]).await;
    let critical = watch.wait_for(|snapshot| snapshot.is_empty());
    assert!(tokio::time::timeout(Duration::from_secs(4), critical).await.is_err(), "it is healthy");
    drop(service);
    sees(&mut watch, "a-svc", &[]).await;
    registration.deregister().await.unwrap();

    settings.tls.cert_file = None;
    settings.tls.key_file = None;
    let stranger = open(&settings, &ready()).await;
    assert!(stranger.watch().borrow().is_empty(), "without a certificate nothing is answered");
}

/// A service that is healthy and demands certificates of the authority.
async fn healthy_service(authority: &Authority) -> Serving {
    let identity = MeshIdentity::load(&authority.settings("a-svc")).unwrap().unwrap();
    let health = grpc_health(ready(), Vec::new());
    let app = axum::Router::new().route_service("/grpc.health.v1.Health/{*method}", health);
    let (address, tls) = ((Ipv4Addr::LOCALHOST, 0).into(), Some(ServerTls::Mesh(identity)));
    Listener::bind(address, tls, &ServerLimits::default()).await.unwrap().serve(app)
}

#[tokio::test]
async fn calls_flow_while_consul_is_killed_and_comes_back_with_no_memory() {
    let (mut consul, settings) = private("", ConsulCheck::Grpc).await;
    let mesh = TestMesh::with_registry(RegistrySettings {
        kind: RegistryKind::Consul,
        grace: GRACE,
        consul: settings.clone(),
        ..RegistrySettings::default()
    });
    let running = FakeAuthz::start(&mesh, |_, _, _| true).await;
    let here = running.local_addr().to_string();
    sees(&mut mesh.registry().watch(), authz::SERVICE, &[&here]).await;

    let load = Load::start(&mesh);
    load.more_calls(20).await;
    consul.kill();
    load.more_calls(100).await;
    consul.restart();
    within(RECOVERY, "the service announces itself to a Consul that forgot it", async || {
        let stranger = open(&settings, &ready()).await;
        let seen = addresses(&stranger.watch().borrow(), authz::SERVICE);
        (seen == [here.clone()]).then_some(())
    })
    .await;
    // Past the grace, so that nothing is left of what was known before.
    load.calls_for(GRACE).await;
    assert_eq!(load.failed(), 0, "no call failed");

    let admin = Rest::new(running.admin_addr());
    assert_eq!(admin.get("/readyz").await.status, 200);
    running.drain().await;
    sees(&mut mesh.registry().watch(), authz::SERVICE, &[]).await;
}

#[tokio::test]
async fn an_instance_that_starts_without_consul_is_announced_when_it_comes() {
    let (mut consul, settings) = private("", ConsulCheck::Ttl).await;
    consul.kill();
    let readiness = ready();
    let registry = open(&settings, &readiness).await;
    let registration: Box<dyn Registration> =
        registry.register(instance("a-svc", "1", "h:1")).await.unwrap();
    assert_eq!(readiness.reasons().await[0].name, "registry");

    consul.restart();
    let mut watch = registry.watch();
    let seen = watch.wait_for(|snapshot| addresses(snapshot, "a-svc") == ["h:1"]);
    tokio::time::timeout(RECOVERY, seen).await.expect("it is announced").unwrap();
    assert!(readiness.reasons().await.is_empty());
    let gone = watch.wait_for(|snapshot| snapshot.is_empty());
    let gone = tokio::time::timeout(settings.check_interval * 3, gone).await.is_ok();
    assert!(!gone, "it goes on telling that it is healthy");
    registration.deregister().await.unwrap();
    sees(&mut watch, "a-svc", &[]).await;
}
