//! Passwords are hashed on a bounded pool.
//!
//! A hash costs tens of milliseconds of a core and megabytes of memory by design, so that only as many
//! run at once as there are cores, and only so many wait that each is still done in good time. The rest
//! is refused at once: a flood of logins must not take the process down.

use std::sync::Arc;

use mainstay::kernel::telemetry::metrics::Active;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::password;
use crate::domain::{AuthError, Password, PasswordHash, PasswordParameters, RefreshToken};

/// Hashes and compares passwords.
pub(super) struct PasswordPool {
    parameters: PasswordParameters,
    /// Whoever works or waits has a place.
    places: Arc<Semaphore>,
    /// Whoever works has a worker, too.
    workers: Arc<Semaphore>,
    waiting: Gauge,
    /// Stands in for the hash of a user who does not exist, so that both take equally long.
    dummy: PasswordHash,
}

impl PasswordPool {
    pub(super) fn new(
        parameters: PasswordParameters,
        workers: usize,
        queue: usize,
        waiting: Gauge,
    ) -> Result<Self, AuthError> {
        let unguessable = Password::given(RefreshToken::random().expose().to_owned());
        Ok(Self {
            parameters,
            places: Arc::new(Semaphore::new(workers.saturating_add(queue))),
            workers: Arc::new(Semaphore::new(workers)),
            waiting,
            dummy: parameters.hash(&unguessable).map_err(AuthError::failed)?,
        })
    }

    /// Hashes a password.
    pub(super) async fn hash(&self, password: &Password) -> Result<PasswordHash, AuthError> {
        let (parameters, password) = (self.parameters, password.clone());
        self.run(move || parameters.hash(&password)).await
    }

    /// Whether the password is the one that was hashed; with no hash it is not, in the same time.
    pub(super) async fn verify(
        &self,
        password: &Password,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, AuthError> {
        let known = hash.is_some();
        let (password, hash) = (password.clone(), hash.unwrap_or(&self.dummy).clone());
        let fits = self.run(move || password::verify(&password, &hash)).await?;
        Ok(fits && known)
    }

    /// The same password hashed at today's cost, when the hash was made at another.
    pub(super) async fn renewed(
        &self,
        password: &Password,
        hash: &PasswordHash,
    ) -> Result<PasswordHash, AuthError> {
        match self.parameters.made(hash) {
            true => Ok(hash.clone()),
            false => self.hash(password).await,
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, AuthError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| AuthError::Overloaded)?;
        let worker = {
            let _waiting = Active::begin(&self.waiting);
            self.workers.clone().acquire_owned().await.map_err(AuthError::failed)?
        };
        // Work that has begun goes on when its caller is gone; its place must stay taken so long.
        let held: [OwnedSemaphorePermit; 2] = [place, worker];
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            done
        });
        work.await.map_err(AuthError::failed)?.map_err(AuthError::failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordParameters = PasswordParameters { memory_kib: 64, passes: 1, lanes: 1 };

    #[tokio::test]
    async fn what_finds_no_place_is_refused_and_the_next_is_served() {
        let pool = PasswordPool::new(CHEAP, 1, 0, Gauge::default()).expect("hashes");
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let mut busy = Box::pin(pool.run(move || Ok(finished.recv()?)));
        assert!(poll_once(&mut busy).await.is_none());
        let password = Password::given("correct horse".into());
        assert!(matches!(pool.hash(&password).await, Err(AuthError::Overloaded)));
        finish.send(()).expect("still there");
        busy.await.expect("finished");
        assert!(pool.hash(&password).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_for_a_worker_is_counted_until_it_is_served_or_gone() {
        let waiting = Gauge::<i64>::default();
        let pool = PasswordPool::new(CHEAP, 1, 2, waiting.clone()).expect("hashes");
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let mut busy = Box::pin(pool.run(move || Ok(finished.recv()?)));
        assert!(poll_once(&mut busy).await.is_none());
        assert_eq!(waiting.get(), 0, "the first has a worker at once");
        let (mut second, mut third) =
            (Box::pin(pool.run(|| Ok(()))), Box::pin(pool.run(|| Ok(()))));
        assert!(poll_once(&mut second).await.is_none() && poll_once(&mut third).await.is_none());
        assert_eq!(waiting.get(), 2);
        drop(third);
        assert_eq!(waiting.get(), 1, "its caller is gone");
        finish.send(()).expect("still there");
        busy.await.expect("finished");
        second.await.expect("served");
        assert_eq!(waiting.get(), 0);
    }

    #[tokio::test]
    async fn nobody_fits_a_user_who_does_not_exist() {
        let pool = PasswordPool::new(CHEAP, 1, 1, Gauge::default()).expect("hashes");
        let password = Password::given("correct horse".into());
        assert!(!pool.verify(&password, None).await.expect("verifies"));
        let hash = pool.hash(&password).await.expect("hashes");
        assert!(pool.verify(&password, Some(&hash)).await.expect("verifies"));
    }

    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
