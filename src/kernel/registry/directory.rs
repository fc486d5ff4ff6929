//! One file for each instance in a directory that all processes of a machine share.
//!
//! An instance is `<folder>/<service>/<id>.json`. The file appears by rename, so nobody reads half
//! of it, and its modification time is the heartbeat: an entry that is not touched for the time to
//! live counts as gone, which is how a process that died disappears. Watching is polling: it works
//! on every file system, and a listing of a dozen small files costs nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::AbortHandle;

use super::{Instance, Registration, Registry, Snapshot, check_name, publish};
use crate::kernel::error::{Error, Result};

mod files;

/// The beat of a [`DirectoryRegistry`].
#[derive(Clone, Copy, Debug)]
pub struct DirectoryTiming {
    /// How often an instance touches its file. Default: 1 s.
    pub heartbeat: Duration,
    /// How long an untouched entry counts. Default: 5 s.
    pub time_to_live: Duration,
    /// How often the directory is read. Default: 200 ms.
    pub poll: Duration,
}

impl Default for DirectoryTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            time_to_live: Duration::from_secs(5),
            poll: Duration::from_millis(200),
        }
    }
}

/// The registry of the embedded default.
#[derive(Debug)]
pub struct DirectoryRegistry {
    folder: PathBuf,
    timing: DirectoryTiming,
    state: watch::Sender<Arc<Snapshot>>,
    changed: Arc<Notify>,
    poller: AbortHandle,
}

impl DirectoryRegistry {
    /// Opens the registry in `folder`, which is created when it is not there, reads it once and
    /// keeps watching. Must be called within a Tokio runtime.
    pub fn open(folder: impl Into<PathBuf>, timing: DirectoryTiming) -> anyhow::Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).with_context(|| {
            format!("cannot create the registry folder {} (registry.path)", folder.display())
        })?;
        let state = watch::Sender::new(Arc::default());
        publish(&state, files::read_all(&folder, timing.time_to_live));
        let changed = Arc::new(Notify::new());
        let poller = tokio::spawn(poll(folder.clone(), timing, state.clone(), changed.clone()));
        Ok(Self { folder, timing, state, changed, poller: poller.abort_handle() })
    }
}

impl Drop for DirectoryRegistry {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

#[async_trait]
impl Registry for DirectoryRegistry {
    async fn register(&self, instance: Instance) -> Result<Box<dyn Registration>> {
        check_name("service", &instance.service)?;
        check_name("id", &instance.id)?;
        let path = files::path_of(&self.folder, &instance);
        write(&path, &instance).await?;
        self.changed.notify_one();
        let announced = Arc::new(Mutex::new(true));
        let heartbeat = beat(path.clone(), instance, self.timing.heartbeat, Arc::clone(&announced));
        Ok(Box::new(Registered {
            path,
            announced,
            heartbeat: tokio::spawn(heartbeat).abort_handle(),
            changed: Arc::clone(&self.changed),
        }))
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.state.subscribe()
    }
}

struct Registered {
    path: PathBuf,
    /// Held during each beat, so that no beat can put the file back once it is withdrawn.
    announced: Arc<Mutex<bool>>,
    heartbeat: AbortHandle,
    changed: Arc<Notify>,
}

#[async_trait]
impl Registration for Registered {
    async fn deregister(&self) -> Result<()> {
        let mut announced = self.announced.lock().await;
        *announced = false;
        match tokio::fs::remove_file(&self.path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::unavailable("the registry folder cannot be written").because(error))
            }
            _ => {
                self.changed.notify_one();
                Ok(())
            }
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

/// Publishes what the directory holds, each interval and whenever this process changed it.
async fn poll(
    folder: PathBuf,
    timing: DirectoryTiming,
    state: watch::Sender<Arc<Snapshot>>,
    changed: Arc<Notify>,
) {
    loop {
        let _ = tokio::time::timeout(timing.poll, changed.notified()).await;
        let folder = folder.clone();
        let read =
            tokio::task::spawn_blocking(move || files::read_all(&folder, timing.time_to_live));
        match read.await {
            Ok(snapshot) => publish(&state, snapshot),
            Err(_) => return,
        }
    }
}

/// Touches the file of an instance until it is withdrawn; puts it back when somebody removed it.
async fn beat(path: PathBuf, instance: Instance, interval: Duration, announced: Arc<Mutex<bool>>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let announced = announced.lock().await;
        if !*announced {
            return;
        }
        if touch(&path).await.is_err()
            && let Err(error) = write(&path, &instance).await
        {
            tracing::warn!(%error, cause = ?error.cause(), "registry heartbeat failed");
        }
    }
}

async fn touch(path: &Path) -> std::io::Result<()> {
    let file = tokio::fs::OpenOptions::new().write(true).open(path).await?;
    file.into_std().await.set_modified(SystemTime::now())
}

async fn write(path: &Path, instance: &Instance) -> Result<()> {
    files::write(path, instance).await.map_err(|error| {
        Error::unavailable("the registry folder cannot be written")
            .because(error.context(format!("cannot write {}", path.display())))
    })
}
