//! The whole platform under load while a server that it stands on is killed and comes back: callers
//! are told to come back where a call needs that server, and notice nothing where it does not;
//! everything goes on soon after the server's return, with no process restarted; and nothing that
//! was acknowledged is lost or done twice.

mod broker;
mod database;
mod load;
mod registry;

use std::time::{Duration, Instant};

use mainstay_testing::{Infra, Platform, within};

use load::Load;
use tokio::sync::Mutex;

/// How soon everything goes on once the server is back.
const RECOVERY: Duration = Duration::from_secs(15);

/// How long every server is away.
const AWAY: Duration = Duration::from_secs(8);

/// Limits that no load reaches.
const UNLIMITED: [(&str, &str); 6] = [
    ("MAINSTAY_GATEWAY__RATES__READ__DEFAULT", "1000000/1m"),
    ("MAINSTAY_GATEWAY__RATES__WRITE__DEFAULT", "1000000/1m"),
    ("MAINSTAY_GATEWAY__RATES__AUTH__DEFAULT", "1000000/1m"),
    ("MAINSTAY_GATEWAY__RATES__SEARCH__DEFAULT", "1000000/1m"),
    ("MAINSTAY_GATEWAY__IP_RATE", "1000000/1m"),
    ("MAINSTAY_GATEWAY__IP_BURST", "1000000"),
];

/// One story at a time: each has a platform, a server and their load on the machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// Every process of the platform.
const SERVICES: [&str; 6] =
    ["gateway", "auth-svc", "identity-svc", "authz-svc", "audit-svc", "billing-svc"];

/// The platform on these servers, with some more variables, and callers who have begun.
async fn platform_on(servers: &Infra, variables: &[(&str, &str)]) -> (Platform, Load) {
    let variables = [&UNLIMITED[..], variables].concat();
    let platform = Platform::start_on(servers, &variables).await;
    let load = Load::start(&platform).await;
    load.goes_on().await;
    (platform, load)
}

/// Waits until every process takes traffic.
async fn all_ready(platform: &Platform) {
    for service in SERVICES {
        within(RECOVERY, &format!("{service} is ready"), async || {
            (platform.admin_port(service).get("/readyz").await.status == 200).then_some(())
        })
        .await;
    }
}

/// Waits until everything goes on, and says how long that took since the server's return.
async fn recovered(what: &str, platform: &Platform, load: &Load, back: Instant) {
    all_ready(platform).await;
    let ready = back.elapsed();
    let last = load.all_succeed().await;
    let took = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(back));
    println!("{what}: ready after {ready:?}, nobody was told to come back after {took:?}");
    assert!(took < RECOVERY, "{what}: calls were taken again after {took:?}");
}
