//! The registry is away: calls go on among the instances last known.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use mainstay_testing::{Consul, Platform, Rest, within};
use serde_json::Value;

use super::{AWAY, Load, RECOVERY, SERVICES, TURN, platform_on, recovered};
use crate::infra;
use crate::servers::consul::PrivateConsul;
use crate::servers::etcd::PrivateEtcd;

/// After a return, how long what was known is kept, and a little more.
const GRACE: Duration = Duration::from_secs(17);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_consul_is_away_and_comes_back_with_no_memory() {
    let _turn = TURN.lock().await;
    let mut server = PrivateConsul::start("");
    let mut servers = infra().clone();
    servers.consul = Consul { url: server.url().to_owned(), token: String::new() };
    let (mut platform, load) = platform_on(&servers, &[]).await;
    let processes = platform.process_ids();

    server.kill();
    calls_go_on(&load).await;
    server.restart();
    let (back, agent) = (Instant::now(), Rest::new(server.url().trim_start_matches("http://")));
    within(RECOVERY, "every process announces itself anew", async || {
        let path = "/v1/agent/services";
        let all = agent.try_send(Method::GET, path, &[], Bytes::new()).await.ok()?;
        let all: Value = serde_json::from_slice(&all.body).ok()?;
        (all.as_object()?.len() == SERVICES.len()).then_some(())
    })
    .await;
    undisturbed("Consul", platform, &processes, load, back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_etcd_is_away() {
    let _turn = TURN.lock().await;
    let mut server = PrivateEtcd::start();
    let urls = format!("[\"{}\"]", server.url());
    let variables = [("MAINSTAY_REGISTRY__KIND", "etcd"), ("MAINSTAY_REGISTRY__ETCD__URLS", &urls)];
    let (mut platform, load) = platform_on(infra(), &variables).await;
    let processes = platform.process_ids();

    server.kill();
    calls_go_on(&load).await;
    server.restart();
    undisturbed("etcd", platform, &processes, load, Instant::now()).await;
}

async fn calls_go_on(load: &Load) {
    let killed = Instant::now();
    while killed.elapsed() < AWAY {
        load.goes_on().await;
    }
}

/// Nobody has noticed, neither while the registry was away nor when what was known of it lapsed.
async fn undisturbed(
    what: &str,
    mut platform: Platform,
    processes: &BTreeMap<&'static str, Option<u32>>,
    load: Load,
    back: Instant,
) {
    recovered(what, &platform, &load, back).await;
    while back.elapsed() < GRACE {
        load.goes_on().await;
    }
    assert_eq!(load.deferred(), 0, "nobody was told to come back");
    load.end(&platform).await;
    assert_eq!(&platform.process_ids(), processes, "no process was restarted");
}
