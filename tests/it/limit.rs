//! Token buckets in the memory of this process.

use std::sync::Arc;

use mainstay::kernel::limit::TokenBuckets;

use crate::suite_limit::contract;

#[tokio::test]
async fn the_buckets_of_a_process_keep_the_contract() {
    contract(Arc::new(TokenBuckets::new(1_000))).await;
}
