//! Calls without a pause to speak of, and what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mainstay::contract::authz::{self, AuthzClient as _, GrpcAuthzClient};
use mainstay_testing::{TestMesh, within};
use tokio::task::JoinHandle;

/// Longer than any story makes calls.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who calls authz again and again.
pub(crate) struct Load {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    made: AtomicU32,
    failed: AtomicU32,
}

impl Load {
    pub(crate) fn start(mesh: &TestMesh) -> Self {
        let client = GrpcAuthzClient::new(mesh.channel("gateway", authz::SERVICE));
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(call_on(client, Arc::clone(&counts)));
        Self { counts, task }
    }

    pub(crate) async fn more_calls(&self, count: u32) {
        let enough = self.counts.made.load(Ordering::Relaxed) + count;
        within(PATIENCE, "calls are made", async || {
            (self.counts.made.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
    }

    pub(crate) async fn calls_for(&self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.more_calls(10).await;
        }
    }

    pub(crate) fn failed(&self) -> u32 {
        self.counts.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn call_on(client: GrpcAuthzClient, counts: Arc<Counts>) {
    loop {
        let question = authz::proto::CheckRequest {
            subject: "user:1".into(),
            permission: "a.b.c".into(),
            ..Default::default()
        };
        let request = authz::proto::BatchCheckRequest { checks: vec![question] };
        if client.batch_check(request).await.is_err() {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        counts.made.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
