//! The cache in the memory of this process.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay::kernel::cache::{Cache as _, LocalCache};

use crate::suite_cache::contract;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_local_cache_keeps_the_contract() {
    contract(LocalCache::shared(1024 * 1024)).await;
}

#[tokio::test]
async fn the_local_cache_forgets_when_it_is_full() {
    let cache = LocalCache::new(10_000);
    for key in 0..1_000 {
        cache.put(&format!("key-{key:04}"), Bytes::from(vec![0; 92]), LONG).await.unwrap();
    }
    let start = Instant::now();
    loop {
        let mut kept = 0;
        for key in 0..1_000 {
            kept += usize::from(cache.get(&format!("key-{key:04}")).await.unwrap().is_some());
        }
        if kept <= 100 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{kept} entries of 100 bytes are kept");
    }
}
