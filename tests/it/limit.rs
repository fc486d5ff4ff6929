//! Token buckets in the memory of this process.

use std::sync::Arc;
use std::time::Duration;

use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::limit::{Ledger, ReconciledBuckets, Spent, TokenBuckets};

use crate::suite_limit::contract;

#[tokio::test]
async fn the_buckets_of_a_process_keep_the_contract() {
    contract(Arc::new(TokenBuckets::new(1_000))).await;
}

/// A ledger that is never there.
struct Away;

#[async_trait::async_trait]
impl Ledger for Away {
    async fn add(&self, _: &[Spent]) -> Result<Vec<Duration>> {
        Err(Error::unavailable("the ledger is away"))
    }
}

#[tokio::test]
async fn buckets_that_are_compared_keep_the_contract_alone() {
    let buckets = ReconciledBuckets::with_ledger(TokenBuckets::new(1_000), Box::new(Away));
    contract(Arc::new(buckets)).await;
}
