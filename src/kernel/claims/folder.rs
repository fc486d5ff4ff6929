//! Claims in a folder of this process's own: one file for each.
//!
//! A file appears with its whole content or not at all: it is written beside, brought to the disk, and
//! then linked to its name, which fails if there is one, or renamed to it, which replaces. So a process
//! that is killed, or a machine that loses power, leaves a claim or none and nothing half written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::Claims;
use crate::kernel::error::{Error, Result};

/// How often claims whose time has passed are removed.
const SWEEP: Duration = Duration::from_secs(10 * 60);

/// A file begins with the time until which it counts, in milliseconds since 1970.
const STAMP_BYTES: usize = 8;

/// What the name of a file that is still being written ends with; no key does.
const UNFINISHED: &str = ".new";

/// Claims in a folder that no other process uses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FolderClaims(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    max_claims: usize,
    /// How many claims there are. Held while one comes or goes, so that the number is always theirs.
    count: Mutex<usize>,
    /// Numbers the files that are being written.
    next: AtomicU64,
}

impl FolderClaims {
    /// Claims in the folder, which is made if need be; at most `max_claims` at a time.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(path: &Path, max_claims: usize) -> anyhow::Result<Self> {
        let what = || format!("the folder {} cannot be used", path.display());
        fs::create_dir_all(path).with_context(what)?;
        let folder = Folder {
            path: path.to_owned(),
            max_claims,
            count: Mutex::new(0),
            next: AtomicU64::new(0),
        };
        folder.begin().with_context(what)?;
        Ok(Self(Arc::new(folder)))
    }

    /// Removes claims whose time has passed, until the shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
            let swept = self.with(Folder::sweep).await;
            if let Err(error) = swept {
                let cause = error.cause().map(|cause| format!("{cause:#}"));
                tracing::warn!(cause, "claims whose time has passed were not removed");
            }
        }
    }

    /// Does something with files, which would keep other tasks waiting.
    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || act(&folder)).await;
        let away = || Error::unavailable("claims cannot be kept right now");
        let done = done.map_err(|fault| away().because(fault))?;
        done.map_err(|fault| away().because(fault))
    }
}

#[async_trait]
impl Claims for FolderClaims {
    async fn claim(&self, key: &str, value: &[u8], keep: Duration) -> Result<Option<Vec<u8>>> {
        let (key, value) = (key.to_owned(), stamped(value, keep));
        self.with(move |folder| folder.claim(&key, &value)).await
    }

    async fn replace(&self, key: &str, value: &[u8], keep: Duration) -> Result<()> {
        let (key, value) = (key.to_owned(), stamped(value, keep));
        self.with(move |folder| folder.replace(&key, &value)).await
    }

    async fn release(&self, key: &str, value: &[u8]) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.with(move |folder| folder.release(&key, &value)).await
    }
}

impl Folder {
    fn claim(&self, key: &str, value: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        if *self.count() >= self.max_claims {
            return match self.read(&path)? {
                Some(there) => Ok(Some(there)),
                None => Err(io::Error::other(format!("{} claims are kept", self.max_claims))),
            };
        }
        let unfinished = self.write(value)?;
        let claimed = self.link(&unfinished, &path);
        // Left behind it is removed at the next start.
        let _ = fs::remove_file(&unfinished);
        claimed
    }

    fn link(&self, unfinished: &Path, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut count = self.count();
        if let Some(there) = self.read(path)? {
            return Ok(Some(there));
        }
        // One whose time has passed gives way.
        remove(path, &mut count)?;
        fs::hard_link(unfinished, path)?;
        *count += 1;
        Ok(None)
    }

    fn replace(&self, key: &str, value: &[u8]) -> io::Result<()> {
        let path = self.path(key)?;
        let unfinished = self.write(value)?;
        let mut count = self.count();
        // A claim whose time has passed may be there no more.
        let is_new = !path.try_exists()?;
        fs::rename(unfinished, path)?;
        *count += usize::from(is_new);
        Ok(())
    }

    fn release(&self, key: &str, value: &[u8]) -> io::Result<()> {
        let path = self.path(key)?;
        let mut count = self.count();
        match self.read(&path)? {
            Some(there) if there == value => remove(&path, &mut count),
            _ => Ok(()),
        }
    }

    /// The content, unless it is not there or its time has passed.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(content) => Ok(counting(&content, now()).map(<[u8]>::to_vec)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a file that has no name of its own yet, readable by its owner alone.
    fn write(&self, value: &[u8]) -> io::Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{number}{UNFINISHED}"));
        let mut file: File =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(value)?;
        file.sync_data()?;
        Ok(path)
    }

    fn path(&self, key: &str) -> io::Result<PathBuf> {
        let is_sound = |c: u8| c.is_ascii_alphanumeric() || b"-_".contains(&c);
        if (1..=128).contains(&key.len()) && key.bytes().all(is_sound) {
            return Ok(self.path.join(key));
        }
        Err(io::Error::new(ErrorKind::InvalidInput, "the key of a claim cannot name a file"))
    }

    /// Removes what is unfinished, and counts what is there.
    fn begin(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            match is_unfinished(&path) {
                true => fs::remove_file(&path)?,
                false => *self.count() += 1,
            }
        }
        self.sweep()
    }

    /// Removes claims whose time has passed.
    fn sweep(&self) -> io::Result<()> {
        let now = now();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if is_unfinished(&path) {
                continue;
            }
            let mut count = self.count();
            match fs::read(&path) {
                Ok(content) if counting(&content, now).is_none() => remove(&path, &mut count)?,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Removes a claim of so many, if it is there.
fn remove(path: &Path, count: &mut usize) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {
            *count = count.saturating_sub(1);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_unfinished(path: &Path) -> bool {
    path.to_string_lossy().ends_with(UNFINISHED)
}

/// A value behind the time until which it counts.
fn stamped(value: &[u8], keep: Duration) -> Vec<u8> {
    let until = now().saturating_add(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    [&until.to_be_bytes()[..], value].concat()
}

/// The value, if its time has not passed.
fn counting(content: &[u8], now: u64) -> Option<&[u8]> {
    let (stamp, value) = content.split_first_chunk::<STAMP_BYTES>()?;
    (u64::from_be_bytes(*stamp) > now).then_some(value)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use futures::future::join_all;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn one_of_many_claims_and_the_others_see_what_it_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let claims = FolderClaims::open(folder.path(), 10).unwrap();
        let tries = (0..20_u8).map(|number| {
            let claims = claims.clone();
            async move { claims.claim("key", &[number], LONG).await.unwrap() }
        });
        let answers = join_all(tries).await;
        let winner = answers.iter().position(Option::is_none).unwrap();
        let others = answers.iter().flatten();
        assert_eq!(others.clone().count(), 19);
        assert!(others.clone().all(|there| there == &[u8::try_from(winner).unwrap()]));

        claims.replace("key", b"done", LONG).await.unwrap();
        drop(claims);
        std::fs::write(folder.path().join(format!("7{UNFINISHED}")), "half").unwrap();
        let again = FolderClaims::open(folder.path(), 10).unwrap();
        assert_eq!(again.claim("key", b"x", LONG).await.unwrap().as_deref(), Some(&b"done"[..]));
        again.release("key", b"x").await.unwrap();
        assert!(again.claim("key", b"x", LONG).await.unwrap().is_some(), "that is another's");
        again.release("key", b"done").await.unwrap();
        assert_eq!(again.claim("key", b"x", LONG).await.unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[tokio::test]
    async fn a_claim_whose_time_has_passed_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let claims = FolderClaims::open(folder.path(), 2).unwrap();
        assert_eq!(claims.claim("a", b"1", Duration::ZERO).await.unwrap(), None);
        assert_eq!(claims.claim("a", b"2", LONG).await.unwrap(), None);
        assert_eq!(claims.claim("a", b"3", LONG).await.unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(claims.claim("b", b"1", Duration::ZERO).await.unwrap(), None);
        assert!(claims.claim("c", b"1", LONG).await.is_err(), "there is room for two");
        assert!(claims.claim("a", b"1", LONG).await.unwrap().is_some(), "what is there is told");
        claims.with(Folder::sweep).await.unwrap();
        assert_eq!(claims.claim("c", b"1", LONG).await.unwrap(), None);
        for key in ["", "../a", "a/b", "a.new", &"k".repeat(129)] {
            assert!(claims.claim(key, b"1", LONG).await.is_err(), "{key:?}");
        }
    }

    #[tokio::test]
    async fn claims_are_counted_as_they_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let claims = FolderClaims::open(folder.path(), 10).unwrap();
        assert_eq!(claims.claim("late", b"1", Duration::ZERO).await.unwrap(), None);
        claims.with(Folder::sweep).await.unwrap();
        claims.replace("late", b"done", LONG).await.unwrap();
        claims.replace("late", b"done again", LONG).await.unwrap();
        let busy = (0..50).map(|round| {
            let claims = claims.clone();
            async move {
                let key = format!("busy-{}", round % 2);
                claims.claim(&key, b"1", LONG).await.unwrap();
                claims.with(Folder::sweep).await.unwrap();
                claims.release(&key, b"1").await.unwrap();
            }
        });
        join_all(busy).await;
        assert_eq!(*claims.0.count(), 1);
        claims.release("late", b"done again").await.unwrap();
        assert_eq!(claims.claim("new", b"1", LONG).await.unwrap(), None);
    }
}
