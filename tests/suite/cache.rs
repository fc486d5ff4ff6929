//! What every cache must do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay::kernel::cache::Cache;

const LONG: Duration = Duration::from_secs(60);

/// The whole contract, on an empty cache.
pub(crate) async fn contract(cache: Arc<dyn Cache>) {
    assert_eq!(cache.get("a").await.unwrap(), None, "nothing is there at first");
    cache.remove("a").await.unwrap();

    cache.put("a", Bytes::from_static(b"one"), LONG).await.unwrap();
    cache.put("b", Bytes::new(), LONG).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap().unwrap(), "one");
    assert_eq!(cache.get("b").await.unwrap().unwrap(), "", "an empty value is a value");

    cache.put("a", Bytes::from_static(b"two"), LONG).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap().unwrap(), "two", "the last value counts");

    cache.remove("a").await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);
    assert!(cache.get("b").await.unwrap().is_some(), "only the key that was named is forgotten");

    let binary = Bytes::from((0..=255).collect::<Vec<u8>>());
    cache.put("ключ \u{0}", binary.clone(), LONG).await.unwrap();
    assert_eq!(cache.get("ключ \u{0}").await.unwrap(), Some(binary));

    expiry(&cache).await;
}

async fn expiry(cache: &Arc<dyn Cache>) {
    cache.put("none", Bytes::from_static(b"x"), Duration::ZERO).await.unwrap();
    assert_eq!(cache.get("none").await.unwrap(), None, "no time to live is none");

    cache.put("short", Bytes::from_static(b"x"), LONG).await.unwrap();
    cache.put("short", Bytes::from_static(b"y"), Duration::from_millis(50)).await.unwrap();
    let start = Instant::now();
    while cache.get("short").await.unwrap().is_some() {
        assert!(start.elapsed() < Duration::from_secs(10), "the new time to live must count");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
