//! Those who keep decisions are told when one may have changed.

use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use mainstay::contract::authz::proto::{
    DeleteRoleBindingRequest, WatchRevisionsRequest, WatchRevisionsResponse,
};
use mainstay::contract::authz::{AuthzClient as _, RemoteAuthorizer};
use mainstay::kernel::Result;
use mainstay::kernel::error::UNAVAILABLE;
use mainstay::kernel::lifecycle::Drained;
use mainstay::kernel::policy::Authorizer as _;
use mainstay::kernel::settings::Transport;
use mainstay::kernel::telemetry::Metrics;
use mainstay_testing::eventually;

use crate::harness::{Authz, question};

crate::on_both_transports!(
    the_revision_is_told_at_once_with_each_change_and_without,
    a_new_member_changes_no_decision,
    a_role_that_is_taken_away_is_refused_within_two_seconds_in_every_process,
    a_stream_ends_when_its_server_drains,
);

/// How long a role that was taken away may still be used.
const BOUND: Duration = Duration::from_secs(2);

/// The next message of a stream; one comes every half second.
async fn next(
    stream: &mut (impl Stream<Item = Result<WatchRevisionsResponse>> + Unpin),
) -> WatchRevisionsResponse {
    let next = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
    next.expect("a message every half second").expect("the stream goes on").unwrap()
}

async fn revision_of(authz: &Authz) -> i64 {
    let check = authz.client.check(question("", "a.b.c", ""));
    authz.as_admin(check).await.unwrap().revision
}

async fn the_revision_is_told_at_once_with_each_change_and_without(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let service = authz.client_of("identity-svc");
    let mut stream = service.watch_revisions(WatchRevisionsRequest {}).await.unwrap();
    let first = next(&mut stream).await;
    assert_eq!(first.revision, revision_of(&authz).await);
    assert!(first.elapsed.is_some(), "{first:?}");
    let beat = next(&mut stream).await;
    assert!(beat.revision == first.revision && elapsed(&beat) > elapsed(&first), "{beat:?}");

    authz.role("support", &["identity.users.read"]).await;
    let mut told = next(&mut stream).await;
    while told.revision == first.revision {
        told = next(&mut stream).await;
    }
    assert_eq!(told.revision, first.revision + 1);
}

fn elapsed(message: &WatchRevisionsResponse) -> Duration {
    message.elapsed.and_then(|elapsed| elapsed.try_into().ok()).unwrap()
}

async fn a_new_member_changes_no_decision(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let before = revision_of(&authz).await;
    let member = authz.member().await;
    assert_eq!(revision_of(&authz).await, before, "or every registration would drop what is kept");
    authz.bind("admin", &format!("user:{member}"), "").await.unwrap();
    assert_eq!(revision_of(&authz).await, before + 1);
}

/// As two services would: each asks and keeps for itself; one replica of authz is told by the other.
async fn a_role_that_is_taken_away_is_refused_within_two_seconds_in_every_process(
    transport: Transport,
) {
    let authz = Authz::begin(transport).await;
    let _another = authz.another().await;
    let user = authz.user_with("reader", &["identity.users.read"]).await;
    let subject = format!("user:{user}");
    let processes: Vec<_> = ["identity-svc", "audit-svc", "billing-svc", "auth-svc"]
        .map(|name| {
            let metrics = Metrics::new("test", "0");
            RemoteAuthorizer::new(authz.client_of(name), &metrics)
        })
        .into();
    let allowed = async |process: &RemoteAuthorizer| {
        process.check(&subject, "identity.users.read", "users/1").await.unwrap()
    };
    for process in &processes {
        assert!(allowed(process).await && allowed(process).await);
    }
    let bindings = authz.bindings_of(&user).await;
    let reader = bindings.iter().find(|binding| binding.role_name == "reader").unwrap();
    let request = DeleteRoleBindingRequest { binding_id: reader.id.clone() };
    authz.as_admin(authz.client.delete_role_binding(request)).await.unwrap();
    let taken = Instant::now();
    for process in &processes {
        let mut asked_at = taken.elapsed();
        while allowed(process).await {
            assert!(asked_at < BOUND, "let through {asked_at:?} after");
            asked_at = taken.elapsed();
        }
    }
    authz.bind("reader", &subject, "").await.unwrap();
    for process in &processes {
        eventually("the grant is told", async || allowed(process).await.then_some(())).await;
    }
}

async fn a_stream_ends_when_its_server_drains(transport: Transport) {
    let mut authz = Authz::begin(transport).await;
    let metrics = Metrics::new("test", "0");
    let process = RemoteAuthorizer::new(authz.client_of("identity-svc"), &metrics);
    let admin = format!("user:{}", authz.admin);
    assert!(process.check(&admin, "a.b.c", "").await.unwrap());
    let mut stream = authz.client.watch_revisions(WatchRevisionsRequest {}).await.unwrap();
    next(&mut stream).await;
    assert_eq!(authz.stop().await, Drained::InTime, "nothing was cut off");
    while let Some(message) = stream.next().await {
        message.expect("it ends in order");
    }
    let away =
        eventually("nobody decides", async || process.check(&admin, "a.b.c", "").await.err()).await;
    assert!(away.is(&UNAVAILABLE), "{away}");
    authz.restart().await;
    eventually("authz decides again", async || {
        process.check(&admin, "a.b.c", "").await.ok().filter(|allowed| *allowed)
    })
    .await;
}
