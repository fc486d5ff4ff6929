//! Several processes on one ledger, by a clock that the test turns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::*;
use crate::kernel::error::Error;

/// Ten tokens, of which one comes back each second.
const QUOTA: Quota = Quota { limit: 10, per: Duration::from_secs(10) };

#[derive(Clone)]
struct World {
    start: Instant,
    millis: Arc<AtomicU64>,
    full_at: Arc<Mutex<HashMap<String, Instant>>>,
    away: Arc<AtomicBool>,
}

impl World {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            millis: Arc::default(),
            full_at: Arc::default(),
            away: Arc::default(),
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.millis.load(Ordering::SeqCst))
    }

    fn pass(&self, millis: u64) {
        self.millis.fetch_add(millis, Ordering::SeqCst);
    }

    fn process(&self) -> ReconciledBuckets {
        let clock = self.clone();
        let own = TokenBuckets::with_clock(1_000, move || clock.now());
        ReconciledBuckets::with_ledger(own, Box::new(self.clone()))
    }
}

#[async_trait]
impl Ledger for World {
    async fn add(&self, spent: &[Spent]) -> Result<Vec<Duration>> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the ledger is away"));
        }
        let now = self.now();
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let added = spent.iter().map(|spent| {
            let full_at = buckets.entry(spent.key.clone()).or_insert(now);
            *full_at = (*full_at).max(now) + spent.price;
            *full_at - now
        });
        Ok(added.collect())
    }
}

/// How many calls a process lets through before it refuses.
fn let_through(process: &ReconciledBuckets) -> u32 {
    (0..1_000).take_while(|_| process.take("caller", QUOTA, 1).allowed).count() as u32
}

async fn all_reconcile(processes: &[ReconciledBuckets]) {
    for process in processes {
        process.reconcile().await.expect("the ledger is there");
    }
}

#[tokio::test]
async fn what_one_let_through_the_others_learn() {
    let world = World::new();
    let processes = [world.process(), world.process()];
    assert!(processes.iter().all(|process| process.take("caller", QUOTA, 4).allowed));
    all_reconcile(&processes).await;
    // The first has told before the second had, and learns with the next call that it makes.
    assert!(processes[0].take("caller", QUOTA, 1).allowed);
    all_reconcile(&processes).await;
    assert_eq!(let_through(&processes[0]), 1, "4 and 4 and 1 of 10 were taken");
}

#[tokio::test]
async fn what_was_too_much_is_paid_back_before_anything_else() {
    let world = World::new();
    let processes = [world.process(), world.process()];
    for process in &processes {
        assert_eq!(let_through(process), 10, "each knows of itself alone");
    }
    all_reconcile(&processes).await;
    world.pass(10_000);
    assert_eq!(let_through(&processes[1]), 0, "the second knows of the debt of ten");
    world.pass(1_000);
    assert_eq!(let_through(&processes[1]), 1, "it is paid, and a token has come back");
    let told = processes[1].take("caller", QUOTA, 1);
    assert!(!told.allowed && told.retry_after <= Duration::from_secs(1), "{told:?}");
}

#[tokio::test]
async fn never_more_passes_than_is_stated() {
    for (gateways, seed) in [(2_u32, 7_u64), (3, 11), (5, 13)] {
        let world = World::new();
        let processes: Vec<_> = (0..gateways).map(|_| world.process()).collect();
        let (mut random, mut passed) = (seed, 0);
        for step in 0..4_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let process = &processes[(random >> 33) as usize % processes.len()];
            // Bursts at one process after another, as somebody who wants too much would send them.
            passed += if random >> 60 == 0 { let_through(process) } else { 0 };
            world.pass(20);
            if step % 5 == 4 {
                all_reconcile(&processes).await;
            }
        }
        let seconds = 4_000 * 20 / 1_000;
        let rate = QUOTA.limit / 10;
        let most = gateways * QUOTA.limit + rate * seconds + gateways;
        assert!(passed <= most, "{gateways} let {passed} through, {most} are stated");
        assert!(passed > rate * seconds / 2, "{passed}: who asks again gets what comes back");
    }
}

#[tokio::test]
async fn a_process_that_is_started_again_counts_as_one_more() {
    for seed in [7_u64, 11, 13] {
        let world = World::new();
        let mut processes = [world.process(), world.process()];
        let (mut random, mut passed, mut started) = (seed, 0, 2);
        for step in 0..4_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = (random >> 33) as usize % processes.len();
            passed += if random >> 60 == 0 { let_through(&processes[index]) } else { 0 };
            if (random >> 40) % 400 == 0 {
                // Killed, with whatever it had not told.
                processes[index] = world.process();
                started += 1;
            }
            world.pass(20);
            if step % 5 == 4 {
                all_reconcile(&processes).await;
            }
        }
        let rate = QUOTA.limit / 10;
        let most = started * QUOTA.limit + rate * 80 + started;
        assert!(passed <= most, "{started} let {passed} through, {most} are stated");
        assert!(passed > 2 * QUOTA.limit + rate * 80 + 2, "{passed}: it counts");
    }
}

#[tokio::test]
async fn a_debt_that_grew_is_learned_with_the_next_call() {
    let world = World::new();
    let processes = [world.process(), world.process()];
    for process in &processes {
        assert_eq!(let_through(process), 10);
        process.reconcile().await.expect("the ledger is there");
    }
    world.pass(10_000);
    assert!(processes[0].take("caller", QUOTA, 1).allowed, "it has learned of its own ten alone");
    all_reconcile(&processes).await;
    assert_eq!(let_through(&processes[0]), 0, "it knows the debt now");
    world.pass(1_000);
    assert_eq!(let_through(&processes[0]), 0, "ten are owed still");
    world.pass(1_000);
    assert_eq!(let_through(&processes[0]), 1);
}

#[tokio::test]
async fn an_outage_of_the_ledger_is_told_afterwards_and_only_what_has_not_come_back() {
    let world = World::new();
    let processes = [world.process(), world.process()];
    world.away.store(true, Ordering::SeqCst);
    for _ in 0..30 {
        assert!(processes[0].take("caller", QUOTA, 1).allowed, "it decides alone");
        assert!(processes[0].reconcile().await.is_err());
        world.pass(1_000);
    }
    assert!(processes[0].take("caller", QUOTA, 5).allowed);
    world.away.store(false, Ordering::SeqCst);
    assert!(processes[1].take("caller", QUOTA, 1).allowed);
    all_reconcile(&processes).await;
    assert_eq!(let_through(&processes[1]), 4, "5 and 1 are taken, not 36");
}

#[tokio::test]
async fn a_ledger_that_forgot_fills_no_bucket() {
    let world = World::new();
    let process = world.process();
    assert_eq!(let_through(&process), 10);
    process.reconcile().await.expect("the ledger is there");
    world.full_at.lock().unwrap_or_else(PoisonError::into_inner).clear();
    world.pass(1_000);
    assert!(process.take("caller", QUOTA, 1).allowed);
    process.reconcile().await.expect("the ledger is there");
    assert_eq!(let_through(&process), 0);
}
