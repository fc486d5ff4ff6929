//! A claim is not made where it cannot be kept.

use std::time::Duration;

use futures::future::join_all;
use mainstay::kernel::claims::{Claims as _, SharedClaims};
use mainstay_testing::PrivateRedis;

use super::{back, connect};

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
    claims.release("key").await.unwrap();
    assert_eq!(claims.claim("key", b"x", Duration::from_millis(1)).await.unwrap(), None);
}
