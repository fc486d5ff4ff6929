//! Who consumes for a group: one subscription at a time.
//!
//! A group belongs to whoever has locked its file. The system gives the lock back when its process
//! ends, however that ends, so that another takes over at once and nobody has to renew anything.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::kernel::error::{Error, Result};

/// A group that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    _locked: File,
}

impl Lease {
    /// Takes a group whose file is in `folder`; `None` if another subscription has it.
    pub(super) fn take(folder: &Path, group: &str) -> Result<Option<Self>> {
        let file = open(folder, group).map_err(|error| unusable(folder, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _locked: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(unusable(folder, error)),
        }
    }
}

fn open(folder: &Path, group: &str) -> std::io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let name = format!("{}.lock", group.replace('/', "_"));
    File::options().create(true).truncate(false).write(true).open(folder.join(name))
}

fn unusable(folder: &Path, error: std::io::Error) -> Error {
    let cause = anyhow::Error::new(error).context(format!(
        "cannot lock a consumer group in {}; check the setting events.path",
        folder.display()
    ));
    Error::unavailable("the event broker cannot be used").because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lease::take(folder.path(), "audit-svc.record").unwrap().unwrap();
        assert!(Lease::take(folder.path(), "audit-svc.record").unwrap().is_none());
        assert!(Lease::take(folder.path(), "authz-svc.record").unwrap().is_some());
        drop(held);
        assert!(Lease::take(folder.path(), "audit-svc.record").unwrap().is_some());
    }
}
