//! The files of the directory registry: written as a whole, read with suspicion.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use crate::kernel::registry::{Instance, Snapshot};

/// Larger files are no entries.
const MAX_ENTRY_BYTES: u64 = 64 * 1024;

/// Where the entry of an instance lies.
pub(super) fn path_of(folder: &Path, instance: &Instance) -> PathBuf {
    folder.join(&instance.service).join(format!("{}.json", instance.id))
}

/// Writes an entry beside its place and renames it into it, so that readers see all or nothing.
/// The name beside begins with a dot, which readers pass over.
pub(super) async fn write(path: &Path, instance: &Instance) -> anyhow::Result<()> {
    let folder = path.parent().context("an entry lies in a folder")?;
    tokio::fs::create_dir_all(folder).await?;
    let half_written = folder.join(format!(".{}.{}", instance.id, uuid::Uuid::now_v7()));
    tokio::fs::write(&half_written, serde_json::to_vec_pretty(instance)?).await?;
    if let Err(error) = tokio::fs::rename(&half_written, path).await {
        // The name beside is of no use to anybody; the rename's error is the one to report.
        let _ = tokio::fs::remove_file(&half_written).await;
        return Err(error.into());
    }
    Ok(())
}

/// Every entry that is whole and fresh. Anything else in the folder is passed over: it may be
/// half-written, left behind by a crash, or not ours.
pub(super) fn read_all(folder: &Path, time_to_live: Duration) -> Snapshot {
    let mut snapshot = Snapshot::new();
    for service in entries(folder) {
        for path in entries(&service) {
            if let Some(instance) = read(&service, &path, time_to_live) {
                snapshot.entry(instance.service.clone()).or_default().push(instance);
            }
        }
    }
    snapshot
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| name_of(path).is_some_and(|name| !name.starts_with('.'))).collect()
}

fn read(service: &Path, path: &Path, time_to_live: Duration) -> Option<Instance> {
    let id = name_of(path)?.strip_suffix(".json")?;
    let metadata = std::fs::metadata(path).ok()?;
    // A time in the future is a clock that was set back: fresh, until it is touched again.
    let age = SystemTime::now().duration_since(metadata.modified().ok()?).unwrap_or_default();
    if age > time_to_live || metadata.len() > MAX_ENTRY_BYTES {
        return None;
    }
    let parsed = serde_json::from_slice::<Instance>(&std::fs::read(path).ok()?);
    let instance = parsed
        .inspect_err(
            |error| tracing::debug!(%error, path = %path.display(), "not a registry entry"),
        )
        .ok()?;
    let in_place = instance.id == id && name_of(service) == Some(instance.service.as_str());
    in_place.then_some(instance)
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}
