//! PostgreSQL is away: every call that needs a service's data is told to come back.

use std::time::Instant;

use super::{AWAY, TURN, all_ready, platform_on, recovered};
use crate::infra;
use crate::servers::postgres::PrivatePostgres;
use mainstay_testing::{Platform, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_told_to_come_back_while_postgres_is_away_and_go_on_when_it_is_back() {
    let _turn = TURN.lock().await;
    let mut server = PrivatePostgres::start();
    let mut servers = infra().clone();
    servers.postgres.url = server.url();
    let (mut platform, load) = platform_on(&servers, &[]).await;
    let processes = platform.process_ids();

    for _ in 0..2 {
        server.kill();
        let killed = Instant::now();
        load.is_deferred(&["register", "update", "me", "plans"]).await;
        is_named_as_the_reason(&platform).await;
        tokio::time::sleep(AWAY.saturating_sub(killed.elapsed())).await;
        server.launch();
        recovered("PostgreSQL", &platform, &load, Instant::now()).await;
    }
    load.end(&platform).await;
    all_ready(&platform).await;
    assert_eq!(platform.process_ids(), processes, "no process was restarted");
}

/// Operators are told what is wrong; the gateway has no database and takes traffic.
async fn is_named_as_the_reason(platform: &Platform) {
    for service in ["auth-svc", "identity-svc", "authz-svc", "audit-svc", "billing-svc"] {
        within(super::RECOVERY, &format!("{service} says that it is not ready"), async || {
            let reply = platform.admin_port(service).get("/readyz").await;
            (reply.status == 503 && reply.text().contains("database")).then_some(())
        })
        .await;
    }
    assert_eq!(platform.admin_port("gateway").get("/readyz").await.status, 200);
}
