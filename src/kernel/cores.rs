//! Threads with a runtime each, one for each core, over which the connections of a listener are spread.
//!
//! A connection stays on the core that took it, and what a call needs lives there too: the tasks of
//! the call, and the [connections](super::channel) on which it goes on. So nothing is passed from core
//! to core, and none waits for another one's lock. The price is that a core cannot help another one
//! with calls that are under way: for what only passes calls on this is cheap, for a service that
//! computes it would not be.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

thread_local! {
    static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How many threads do work at the same time: the cores that this process may use.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The number of the current thread: that of its core, from 0; other threads are numbered as they ask,
/// so that those of a runtime follow one another.
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(next));
            next
        })
    })
}

/// The threads. They end, and what runs on them, when this is dropped.
#[derive(Debug)]
pub(crate) struct Cores(Vec<Core>);

#[derive(Debug)]
struct Core {
    runtime: Handle,
    seats: Arc<AtomicUsize>,
    /// Dropped, it ends the thread.
    _end: oneshot::Sender<()>,
}

/// A place on a core; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The core's runtime.
    pub(crate) runtime: Handle,
    seats: Arc<AtomicUsize>,
}

impl Cores {
    /// Starts the threads.
    pub(crate) fn start() -> anyhow::Result<Self> {
        (0..count()).map(Core::start).collect::<anyhow::Result<_>>().map(Self)
    }

    /// The runtime of each.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|core| &core.runtime)
    }

    /// A place on the core that has the most left.
    pub(crate) fn seat(&self) -> Seat {
        let taken = |core: &&Core| core.seats.load(Ordering::Relaxed);
        let core = self.0.iter().min_by_key(taken).expect("a process has a core");
        core.seats.fetch_add(1, Ordering::Relaxed);
        Seat { runtime: core.runtime.clone(), seats: Arc::clone(&core.seats) }
    }
}

impl Core {
    fn start(number: usize) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the runtime of a core cannot be made")?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let run = move || {
            NUMBER.with(|own| own.set(Some(number)));
            // Nothing is ever sent: the end of the sender is the word.
            let _ = runtime.block_on(ended);
            // What still blocks a thread of its own is not waited for.
            runtime.shutdown_background();
        };
        std::thread::Builder::new()
            .name(format!("core {number}"))
            .spawn(run)
            .context("the thread of a core cannot be started")?;
        Ok(Self { runtime: handle, seats: Arc::default(), _end: end })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_is_seated_where_the_most_is_left() {
        let cores = Cores::start().unwrap();
        let seats: Vec<_> = (0..2 * count()).map(|_| cores.seat()).collect();
        let taken = |cores: &Cores| {
            cores.0.iter().map(|core| core.seats.load(Ordering::Relaxed)).collect::<Vec<_>>()
        };
        assert_eq!(taken(&cores), vec![2; count()]);
        drop(seats);
        assert_eq!(taken(&cores), vec![0; count()]);
    }

    #[test]
    fn each_core_has_its_number_and_ends_with_what_runs_on_it() {
        let cores = Cores::start().unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        for core in &cores.0 {
            let said = said.clone();
            core.runtime.spawn(async move {
                said.send(thread_number()).unwrap();
                std::future::pending::<()>().await;
                drop(said);
            });
        }
        drop(said);
        let mut numbers: Vec<_> = heard.iter().take(count()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..count()).collect::<Vec<_>>());
        drop(cores);
        assert!(heard.recv().is_err(), "the tasks are dropped with their cores");
    }
}
