//! Waiting for what happens by itself, and speaking for a user.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay::kernel::call::{self, Call, User};

/// How long [`eventually`] waits: longer than anything takes, on a machine that is busy with other
/// tests and builds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often [`eventually`] looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks every 20 ms until `probe` finds something.
///
/// # Panics
/// After 30 s, naming `what` was waited for.
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe).await
}

/// As [`eventually`], with a patience of its own.
///
/// # Panics
/// After `patience`, naming `what` was waited for.
pub async fn within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Runs `future` as a call of that user on the plan `free`: channels hand the user on.
pub async fn as_user<F: Future>(user_id: &str, future: F) -> F::Output {
    as_user_with_plan(user_id, "free", future).await
}

/// Runs `future` as a call of that user on that plan.
pub async fn as_user_with_plan<F: Future>(user_id: &str, plan: &str, future: F) -> F::Output {
    let user = User { id: user_id.to_owned(), plan: plan.to_owned(), session_id: None };
    let call = Call {
        request_id: uuid::Uuid::now_v7().to_string(),
        peer: "test".to_owned(),
        user: Some(user),
        deadline: None,
    };
    call::scope(Arc::new(call), future).await
}

/// Runs to its end, also within a test that runs on a runtime itself.
pub(crate) fn blocking<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the machine takes another runtime").block_on(work)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
