//! A claim is not made where it cannot be kept.

use std::time::Duration;

use futures::future::join_all;
use mainstay::kernel::claims::{Claims as _, SharedClaims};
use mainstay_testing::{PrivateRedis, within};

use super::{RECOVERY, back, connect};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_not_promised_while_redis_is_away() {
    let mut server = PrivateRedis::start().await;
    let (redis, _) = connect(&server).await;
    let claims = SharedClaims::new(redis.clone(), "idempotency");
    let tries = (0..20_u8).map(|number| {
        let claims = claims.clone();
        async move { claims.claim("key", &[number], LONG).await.unwrap() }
    });
    let answers = join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1, "{answers:?}");
    claims.replace("key", b"done", LONG).await.unwrap();

    server.kill();
    for _ in 0..2 {
        assert!(claims.claim("key", b"x", LONG).await.is_err());
        assert!(claims.claim("other", b"x", LONG).await.is_err());
    }
    server.restart().await;
    back(&redis).await;
    assert_eq!(claims.claim("key", b"x", LONG).await.unwrap().as_deref(), Some(&b"done"[..]));
    claims.release("key", b"x").await.unwrap();
    assert!(claims.claim("key", b"x", LONG).await.unwrap().is_some(), "it is not what was written");
    claims.release("key", b"done").await.unwrap();
    assert_eq!(claims.claim("key", b"x", Duration::from_millis(1)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_a_stalled_redis_makes_later_is_taken_back() {
    let server = PrivateRedis::start().await;
    let (redis, _) = connect(&server).await;
    let claims = SharedClaims::new(redis.clone(), "idempotency");
    claims.claim("other", b"theirs", LONG).await.unwrap();
    server.stall();
    let tries = ["key", "other"].map(|key| claims.claim(key, b"ours", LONG));
    assert!(join_all(tries).await.iter().all(Result::is_err), "nobody knows");
    server.resume();
    back(&redis).await;
    within(RECOVERY, "the key is free again", async || {
        let there = claims.claim("key", b"second", LONG).await.ok()?;
        (there.is_none() || there.as_deref() == Some(b"second")).then_some(())
    })
    .await;
    // Whoever looks for its own claim takes nobody else's.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (key, value) in [("key", &b"second"[..]), ("other", b"theirs")] {
        assert_eq!(claims.claim(key, b"third", LONG).await.unwrap().as_deref(), Some(value));
    }
}
