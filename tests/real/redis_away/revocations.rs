//! Ended sessions are refused whatever Redis does, and nobody is let in because of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::token::{RevocationFeed, RevocationSource, Revocations, SharedRevocations};
use mainstay_testing::{PrivateRedis, within};
use tokio_util::sync::CancellationToken;

use super::{back, connect};

/// How soon an ended session is refused.
const SOON: Duration = Duration::from_secs(2);

/// Auth: which sessions ended, when, and how often it was asked.
#[derive(Clone, Default)]
struct Auth {
    ended: Arc<Mutex<Vec<(String, SystemTime)>>>,
    is_away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Auth {
    fn end(&self, session: &str) {
        self.ended.lock().unwrap().push((session.to_owned(), SystemTime::now()));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl RevocationSource for Auth {
    async fn revocations(&self, since: Option<SystemTime>) -> Result<Revocations> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Error::unavailable("auth is away"));
        }
        let as_of = SystemTime::now();
        let ended = self.ended.lock().unwrap().clone();
        let since = since.unwrap_or(SystemTime::UNIX_EPOCH);
        let new = ended.into_iter().filter(|(_, time)| *time >= since);
        Ok(Revocations { session_ids: new.map(|(session, _)| session).collect(), as_of })
    }
}

/// Auth with its feed, and a gateway that asks Redis first.
struct Mesh {
    server: PrivateRedis,
    /// As the feed asks it, within its own process.
    auth: Auth,
    /// As the gateway asks it, over the mesh.
    remote: Auth,
    gateway: Arc<dyn RevocationSource>,
    redis: mainstay::kernel::redis::Redis,
    feed: CancellationToken,
}

impl Mesh {
    async fn new() -> Self {
        let server = PrivateRedis::start().await;
        let auth = Auth::default();
        let remote = Auth { ended: Arc::clone(&auth.ended), ..Auth::default() };
        let (redis, _) = connect(&server).await;
        let gateway = SharedRevocations::over(Some(redis.clone()), Arc::new(remote.clone()));
        let mut mesh =
            Self { server, auth, remote, gateway, redis, feed: CancellationToken::new() };
        mesh.start_feed().await;
        mesh
    }

    async fn start_feed(&mut self) {
        let (redis, _) = connect(&self.server).await;
        self.feed = CancellationToken::new();
        RevocationFeed::new(redis, Arc::new(self.auth.clone())).spawn(self.feed.clone());
    }

    async fn all(&self) -> Vec<String> {
        let mut all = self.gateway.revocations(None).await.unwrap().session_ids;
        all.sort();
        all
    }

    /// Waits until the gateway need not ask auth.
    async fn shared(&self) {
        within(Duration::from_secs(15), "ended sessions come from redis", async || {
            let before = self.remote.asked();
            self.all().await;
            (self.remote.asked() == before).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_session_is_pushed_and_auth_is_not_asked() {
    let mesh = Mesh::new().await;
    mesh.auth.end("before");
    mesh.shared().await;
    let since = mesh.gateway.revocations(None).await.unwrap().as_of;
    // Signals of the begin are done with when none comes for a while.
    while tokio::time::timeout(SOON / 2, mesh.gateway.changed()).await.is_ok() {}

    mesh.auth.end("ended");
    tokio::time::timeout(SOON, mesh.gateway.changed()).await.expect("the gateway is told");
    let new = mesh.gateway.revocations(Some(since)).await.unwrap();
    assert!(new.session_ids.contains(&"ended".to_owned()), "{new:?}");
    assert_eq!(mesh.all().await, ["before", "ended"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_for_which_nobody_vouches_is_not_believed() {
    let mut mesh = Mesh::new().await;
    mesh.auth.end("first");
    mesh.shared().await;

    mesh.feed.cancel();
    mesh.auth.end("second");
    within(SOON, "auth itself is asked", async || {
        (mesh.all().await == ["first", "second"]).then_some(())
    })
    .await;
    assert!(mesh.remote.asked() > 0);

    mesh.remote.is_away.store(true, Ordering::SeqCst);
    assert!(mesh.gateway.revocations(None).await.is_err(), "not known is not allowed");
    mesh.remote.is_away.store(false, Ordering::SeqCst);

    mesh.start_feed().await;
    mesh.shared().await;
    assert_eq!(mesh.all().await, ["first", "second"]);
    mesh.server.flush();
    for _ in 0..50 {
        assert_eq!(mesh.all().await, ["first", "second"], "an emptied server lets nobody in");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mesh.shared().await;
    assert_eq!(mesh.all().await, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_an_ended_session_is_refused_as_soon() {
    let mut mesh = Mesh::new().await;
    mesh.auth.end("first");
    mesh.shared().await;
    for (number, outage) in ["killed", "stalled"].into_iter().enumerate() {
        match outage {
            "killed" => mesh.server.kill(),
            _ => mesh.server.stall(),
        }
        let session = format!("second-{number}");
        mesh.auth.end(&session);
        within(SOON, outage, async || mesh.all().await.contains(&session).then_some(())).await;
        mesh.remote.is_away.store(true, Ordering::SeqCst);
        assert!(mesh.gateway.revocations(None).await.is_err(), "{outage}: not known");
        mesh.remote.is_away.store(false, Ordering::SeqCst);
        match outage {
            "killed" => mesh.server.restart().await,
            _ => mesh.server.resume(),
        }
        back(&mesh.redis).await;
        mesh.shared().await;
        // What was shared before the outage is believed for as long as it would have been.
        within(SOON, outage, async || mesh.all().await.contains(&session).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_feeds_share_the_work_and_one_may_end() {
    let mut mesh = Mesh::new().await;
    let first = mesh.feed.clone();
    mesh.start_feed().await;
    for number in 0..2_500 {
        mesh.auth.end(&format!("session-{number:04}"));
    }
    mesh.shared().await;
    within(SOON * 2, "all are there", async || (mesh.all().await.len() == 2_500).then_some(()))
        .await;
    first.cancel();
    mesh.auth.end("last");
    within(SOON, "the other feed goes on", async || {
        mesh.all().await.contains(&"last".to_owned()).then_some(())
    })
    .await;
    mesh.shared().await;
}
