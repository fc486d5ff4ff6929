//! etcd: the contract, leases, users, and outages.

use std::time::Duration;

use base64::Engine as _;
use mainstay::contract::authz;
use mainstay::kernel::health::Readiness;
use mainstay::kernel::registry::{EtcdRegistry, Registry};
use mainstay::kernel::settings::{EtcdSettings, RegistryKind, RegistrySettings};
use mainstay_testing::{FakeAuthz, Rest, TestMesh, within};
use serde_json::json;

use super::load::Load;
use super::suite::{addresses, contract, instance, sees};
use crate::servers::etcd::PrivateEtcd;
use crate::servers::free_port;

/// How soon everything must be as before when etcd is back.
const RECOVERY: Duration = Duration::from_secs(15);

/// How long what a restarted etcd does not list is kept, in these stories.
const GRACE: Duration = Duration::from_secs(8);

/// The run's etcd, with keys of the story's own.
fn settings() -> EtcdSettings {
    EtcdSettings {
        urls: vec![crate::infra().etcd.url.clone()],
        prefix: format!("test-{}", uuid::Uuid::now_v7().simple()),
        time_to_live: Duration::from_secs(3),
        ..EtcdSettings::default()
    }
}

async fn open(settings: &EtcdSettings) -> EtcdRegistry {
    EtcdRegistry::open(settings, GRACE, &Readiness::default()).await.unwrap()
}

/// The same names on an etcd of the story's own, which takes registrations.
async fn private() -> (PrivateEtcd, EtcdSettings) {
    let etcd = PrivateEtcd::start();
    let settings = EtcdSettings { urls: vec![etcd.url().to_owned()], ..settings() };
    let registry = open(&settings).await;
    let registered = registry.register(instance("probe-svc", "1", "h:1")).await.unwrap();
    sees(&mut registry.watch(), "probe-svc", &["h:1"]).await;
    registered.deregister().await.unwrap();
    (etcd, settings)
}

/// From now on only `mainstay` with the password `secret` may use the platform's keys.
async fn demand_passwords(url: &str, prefix: &str) {
    let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let (key, range_end) = (base64(format!("/{prefix}/")), base64(format!("/{prefix}0")));
    let permission = json!({"permType": "READWRITE", "key": key, "range_end": range_end});
    let steps = [
        ("user/add", json!({"name": "root", "password": "root"})),
        ("role/add", json!({"name": "root"})),
        ("user/grant", json!({"user": "root", "role": "root"})),
        ("user/add", json!({"name": "mainstay", "password": "secret"})),
        ("role/add", json!({"name": "mainstay"})),
        ("role/grant", json!({"name": "mainstay", "perm": permission})),
        ("user/grant", json!({"user": "mainstay", "role": "mainstay"})),
        ("enable", json!({})),
    ];
    let rest = Rest::new(url.trim_start_matches("http://"));
    for (step, body) in steps {
        let reply = rest.post(&format!("/v3/auth/{step}"), body).await;
        assert_eq!(reply.status, 200, "{step}");
    }
}

#[tokio::test]
async fn the_contract_is_kept() {
    let settings = settings();
    contract(async || open(&settings).await).await;
}

#[tokio::test]
async fn platforms_do_not_see_each_other() {
    let (ours, theirs) = (open(&settings()).await, open(&settings()).await);
    let registration = theirs.register(instance("a-svc", "1", "h:1")).await.unwrap();
    sees(&mut theirs.watch(), "a-svc", &["h:1"]).await;
    assert!(ours.watch().borrow().is_empty());
    registration.deregister().await.unwrap();
}

#[tokio::test]
async fn an_instance_lives_as_long_as_its_process() {
    let settings = settings();
    let registry = open(&settings).await;
    let mut watch = registry.watch();
    let registration = registry.register(instance("a-svc", "1", "h:1")).await.unwrap();
    sees(&mut watch, "a-svc", &["h:1"]).await;

    let gone = watch.wait_for(|snapshot| snapshot.is_empty());
    assert!(tokio::time::timeout(settings.time_to_live * 2, gone).await.is_err(), "it beats");
    drop(registration);
    sees(&mut watch, "a-svc", &[]).await;
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_passed_over() {
    let mut settings = settings();
    settings.urls.insert(0, format!("http://127.0.0.1:{}", free_port()));
    let registry = open(&settings).await;
    let registration = registry.register(instance("a-svc", "1", "h:1")).await.unwrap();
    sees(&mut registry.watch(), "a-svc", &["h:1"]).await;
    registration.deregister().await.unwrap();
}

#[tokio::test]
async fn calls_flow_while_etcd_is_killed_and_comes_back_with_no_memory() {
    let (mut etcd, settings) = private().await;
    let mesh = TestMesh::with_registry(RegistrySettings {
        kind: RegistryKind::Etcd,
        grace: GRACE,
        etcd: settings.clone(),
        ..RegistrySettings::default()
    });
    let running = FakeAuthz::start(&mesh, |_, _, _| true).await;
    let here = running.local_addr().to_string();
    sees(&mut mesh.registry().watch(), authz::SERVICE, &[&here]).await;

    let load = Load::start(&mesh);
    load.more_calls(20).await;
    etcd.kill();
    load.more_calls(100).await;
    etcd.restart();
    recovered(&settings, &here).await;
    etcd.kill_and_wipe();
    load.more_calls(20).await;
    etcd.restart();
    recovered(&settings, &here).await;
    // Past the grace, so that nothing is left of what was known before.
    load.calls_for(GRACE).await;
    assert_eq!(load.failed(), 0, "no call failed");
    running.drain().await;
    sees(&mut mesh.registry().watch(), authz::SERVICE, &[]).await;
}

#[tokio::test]
async fn a_user_reads_and_writes_its_own_platform_and_a_stranger_is_refused() {
    let (mut etcd, nobody) = private().await;
    demand_passwords(etcd.url(), &nobody.prefix).await;
    let known =
        EtcdSettings { user: "mainstay".into(), password: "secret".into(), ..nobody.clone() };
    contract(async || open(&known).await).await;

    // Restarted, it has forgotten the tokens it gave out.
    let registry = open(&known).await;
    let registration = registry.register(instance("a-svc", "1", "h:1")).await.unwrap();
    etcd.restart();
    within(RECOVERY, "the instance is announced again", async || {
        let stranger = open(&known).await;
        let seen = addresses(&stranger.watch().borrow(), "a-svc");
        (seen == ["h:1"]).then_some(())
    })
    .await;
    registration.deregister().await.unwrap();

    let mistaken = EtcdSettings { password: "guess".into(), ..known.clone() };
    let elsewhere = EtcdSettings { prefix: "other".into(), ..known };
    for settings in [nobody, mistaken, elsewhere] {
        let registry = open(&settings).await;
        let refused = registry.register(instance("a-svc", "1", "h:1")).await.err().unwrap();
        let message = refused.to_string();
        assert!(message.contains("registry.etcd.user"), "{message}");
    }
}

/// Waits until a stranger finds the service again.
async fn recovered(settings: &EtcdSettings, address: &str) {
    within(RECOVERY, "the service announces itself to an etcd that was away", async || {
        let stranger = open(settings).await;
        let seen = addresses(&stranger.watch().borrow(), authz::SERVICE);
        (seen == [address]).then_some(())
    })
    .await;
}
