//! What is kept, what is asked, and what is refused when nobody can be asked.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use futures::{StreamExt as _, stream};

use super::*;

/// A source whose every answer the test gives.
#[derive(Default)]
struct Told {
    answer: Mutex<Option<Decision>>,
    asked: AtomicUsize,
    /// What the streams tell all the time; nothing while it is 0.
    newest: AtomicI64,
}

struct Source(Arc<Told>);

#[async_trait]
impl DecisionSource for Source {
    async fn decide(&self, _: &str, _: &str, _: &str) -> Result<Decision> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let answer = *self.0.answer.lock().expect("no panic");
        answer.ok_or_else(|| Error::unavailable("authz is away"))
    }

    async fn watch(&self) -> Result<Messages<()>> {
        let told = stream::unfold(Arc::clone(&self.0), |told| async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let revision = told.newest.load(Ordering::SeqCst);
                // What is said to be later than now is of now.
                let heard = Heard { revision, elapsed: Duration::from_secs(3600), content: () };
                if revision != 0 {
                    return Some((Ok(heard), told));
                }
            }
        });
        Ok(told.boxed())
    }
}

impl Told {
    fn answer(&self, allowed: bool, revision: i64) {
        *self.answer.lock().expect("no panic") = Some(Decision { allowed, revision });
    }

    fn be_away(&self) {
        *self.answer.lock().expect("no panic") = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Decisions at a revision that was heard of.
async fn decisions(revision: i64) -> (Decisions, Arc<Told>) {
    let told = Arc::<Told>::default();
    let decisions = Decisions::of(Source(Arc::clone(&told)), &Metrics::new("test", "0"));
    told_of(&decisions, &told, revision).await;
    (decisions, told)
}

/// Makes a revision the newest, and waits until that is known.
async fn told_of(decisions: &Decisions, told: &Told, revision: i64) {
    told.newest.store(revision, Ordering::SeqCst);
    while decisions.following.current() != Some(revision) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn check(decisions: &Decisions) -> Option<bool> {
    match decisions.check("user:1", "a.b.c", "things/1").await {
        Ok(allowed) => Some(allowed),
        Err(error) => {
            assert!(error.is(&UNAVAILABLE), "{error}");
            None
        }
    }
}

#[tokio::test]
async fn a_decision_is_asked_for_once_at_each_revision() {
    let (decisions, told) = decisions(7).await;
    told.answer(true, 7);
    let many = (0..50).map(|_| check(&decisions));
    assert!(futures::future::join_all(many).await.into_iter().all(|it| it == Some(true)));
    assert_eq!(told.asked(), 1, "who asks at the same time waits for one answer");

    told.answer(false, 8);
    assert_eq!(check(&decisions).await, Some(true), "nobody has said that anything changed");
    told_of(&decisions, &told, 8).await;
    assert_eq!(check(&decisions).await, Some(false), "what was allowed ends with its revision");
    assert_eq!(check(&decisions).await, Some(false));
    assert_eq!(told.asked(), 2, "so is what is not allowed kept");
    told.answer(true, 9);
    told_of(&decisions, &told, 9).await;
    assert_eq!(check(&decisions).await, Some(true), "and ends");
}

#[tokio::test]
async fn questions_do_not_answer_for_each_other() {
    let (decisions, told) = decisions(7).await;
    for (asked, question) in [
        ("user:1", "a.b.c", ""),
        ("user:1", "a.b.c", "things/1"),
        ("user:1", "a.b.d", ""),
        ("user:2", "a.b.c", ""),
    ]
    .into_iter()
    .enumerate()
    {
        told.answer(asked % 2 == 0, 7);
        let (subject, permission, resource) = question;
        let answer = decisions.check(subject, permission, resource).await.expect("asked");
        assert_eq!((answer, told.asked()), (asked % 2 == 0, asked + 1), "{question:?}");
    }
}

#[tokio::test]
async fn nothing_kept_opens_a_door_when_nobody_vouches_for_it() {
    let (decisions, told) = decisions(7).await;
    told.answer(true, 7);
    assert_eq!(check(&decisions).await, Some(true));
    told.be_away();
    told.newest.store(0, Ordering::SeqCst);
    let silent_since = std::time::Instant::now();
    while check(&decisions).await == Some(true) {
        assert!(silent_since.elapsed() < Duration::from_millis(1900), "the bound is two seconds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(check(&decisions).await, None);
    told.answer(true, 7);
    assert_eq!(check(&decisions).await, Some(true), "without a stream it is asked");
    let asked = told.asked();
    assert_eq!(check(&decisions).await, Some(true));
    assert_eq!(told.asked(), asked + 1, "each time");
}

#[tokio::test]
async fn a_replica_that_lags_decides_nothing() {
    let (decisions, told) = decisions(7).await;
    told.answer(true, 6);
    assert_eq!(check(&decisions).await, None, "its answer may be out of date");
    assert_eq!(told.asked(), 2, "another may answer");
    told.answer(true, 8);
    assert_eq!(check(&decisions).await, Some(true), "one that knows more is believed");
}
