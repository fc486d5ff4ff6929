//! The state folder, `.mainstay/`: where everything lies, and the lock that makes one supervisor of
//! many.
//!
//! The lock is an advisory one on the folder itself. The operating system lets go of it when its
//! holder dies, however it dies, so there is no lock file that could be left behind.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// How long a supervisor waits for the folder: others hold it for the blink of a look.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

/// Paths below the state folder.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    root: PathBuf,
}

/// The right to run the platform on a state folder; let go when dropped.
#[derive(Debug)]
pub(crate) struct HomeLock {
    _folder: File,
}

impl Home {
    /// The state folder at a path; made if it is not there.
    pub(crate) fn at(root: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&root)
            .and_then(|()| root.canonicalize())
            .map(|root| Self { root })
            .with_context(|| {
                format!(
                    "state folder {} cannot be made: choose another by --home DIR",
                    root.display()
                )
            })
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// What a supervisor keeps about itself; gone when it ended in order.
    pub(crate) fn run_folder(&self) -> PathBuf {
        self.path("run")
    }

    /// What a service logged.
    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        self.path("logs").join(format!("{name}.log"))
    }

    /// Whether a supervisor runs on this folder.
    pub(crate) fn is_held(&self) -> anyhow::Result<bool> {
        match self.open()?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).context("the state folder has no locks"),
        }
    }

    /// Takes the folder; `None` if a supervisor has it.
    pub(crate) fn take(&self) -> anyhow::Result<Option<HomeLock>> {
        let folder = self.open()?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Some(HomeLock { _folder: folder })),
                Err(TryLockError::Error(error)) => {
                    return Err(error).context("the state folder has no locks");
                }
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn open(&self) -> anyhow::Result<File> {
        File::open(&self.root)
            .with_context(|| format!("state folder {} cannot be opened", self.root.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_the_folder_and_dropping_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("state")).unwrap();
        assert!(!home.is_held().unwrap());
        let lock = home.take().unwrap().expect("nobody has it");
        assert!(home.is_held().unwrap());
        assert!(home.take().unwrap().is_none());
        drop(lock);
        assert!(!home.is_held().unwrap());
        assert_eq!(std::fs::read_dir(home.root()).unwrap().count(), 0, "no lock file");
    }
}
