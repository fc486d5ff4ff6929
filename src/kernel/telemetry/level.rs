//! Which log records are kept, changed while the process runs.
//!
//! What the settings say always holds; a change adds directives to it, of which the more exact and the
//! later ones win. It is forgotten with the process, or when its time is over.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber, callsite};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::{Context, Filter};

/// The longest filter that is taken, in bytes.
const LONGEST: usize = 1000;

/// The longest time for which a change may be asked.
const MOST_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// That of this process; a process has one log.
static INSTALLED: OnceLock<LogLevel> = OnceLock::new();

/// The filter of the log. Cheap to clone.
#[derive(Clone)]
pub struct LogLevel(Arc<Inner>);

struct Inner {
    /// What the settings say, with what is always quiet.
    base: String,
    stated: String,
    targets: Arc<ArcSwap<Targets>>,
    change: Mutex<Change>,
}

#[derive(Default)]
struct Change {
    filter: Option<String>,
    until: Option<Instant>,
    /// Grows with each change, so that an old one does not end a newer one.
    number: u64,
}

/// What holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogFilter {
    /// What the settings say.
    pub settings: String,
    /// What was added while the process runs.
    pub change: Option<String>,
    /// For how many more seconds the change holds; nothing if until the process ends.
    pub falls_back_in_seconds: Option<u64>,
}

/// What is wrong with a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The field at fault, such as `filter`.
    pub field: String,
    /// What is wrong with it, a lower-case fragment.
    pub reason: String,
}

impl LogLevel {
    /// A filter for a layer, and what changes it. `quiet` is added before what the settings state.
    pub(super) fn new(quiet: &str, stated: &str) -> Result<(ByTarget, Self), ParseError> {
        let base = format!("{quiet},{stated}");
        let targets = Arc::new(ArcSwap::from_pointee(base.parse()?));
        let filter = ByTarget(Arc::clone(&targets));
        let inner = Inner { base, stated: stated.to_owned(), targets, change: Mutex::default() };
        Ok((filter, Self(Arc::new(inner))))
    }

    /// Makes this the one of the process.
    pub(super) fn install(self) {
        // Telemetry is installed once; a second one is refused before it comes here.
        let _ = INSTALLED.set(self);
    }

    /// That of this process; `None` where somebody else logs, as in tests.
    pub fn of_process() -> Option<Self> {
        INSTALLED.get().cloned()
    }

    /// What holds now.
    pub fn shown(&self) -> LogFilter {
        let change = self.change();
        let left = change.until.map(|until| until.saturating_duration_since(Instant::now()));
        LogFilter {
            settings: self.0.stated.clone(),
            change: change.filter.clone(),
            falls_back_in_seconds: left.map(|left| left.as_secs_f64().ceil() as u64),
        }
    }

    /// Adds directives such as `mainstay::kernel::channel=debug`, in the place of those added before;
    /// for a time, or until the process ends. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the filter cannot be read, or the time is too long; nothing has changed then.
    pub fn change_to(&self, filter: &str, lasting: Option<Duration>) -> Result<(), Unfit> {
        let unfit = |field: &str, reason: String| Unfit { field: field.to_owned(), reason };
        if filter.trim().is_empty() || filter.len() > LONGEST {
            let reason = format!("must be of 1 to {LONGEST} bytes");
            return Err(unfit("filter", reason));
        }
        if lasting.is_some_and(|lasting| lasting.is_zero() || lasting > MOST_TIME) {
            return Err(unfit("for", format!("must be above 0 and at most {MOST_TIME:?}")));
        }
        let whole = format!("{},{filter}", self.0.base);
        self.put(&whole).map_err(|reason| unfit("filter", reason))?;
        let number = {
            let mut change = self.change();
            change.number += 1;
            change.filter = Some(filter.to_owned());
            change.until = lasting.map(|lasting| Instant::now() + lasting);
            change.number
        };
        tracing::warn!(filter, ?lasting, "the log's filter was changed");
        if let Some(lasting) = lasting {
            let level = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(lasting).await;
                if level.change().number == number {
                    level.fall_back();
                }
            });
        }
        Ok(())
    }

    /// What the settings say holds again, and nothing else.
    pub fn fall_back(&self) {
        {
            let mut change = self.change();
            let number = change.number + 1;
            *change = Change { number, ..Change::default() };
        }
        match self.put(&self.0.base) {
            Ok(()) => {
                tracing::warn!(filter = self.0.stated, "the log's filter is that of the settings")
            }
            Err(error) => tracing::error!(error, "the log's filter cannot be put back"),
        }
    }

    fn put(&self, filter: &str) -> Result<(), String> {
        let targets = filter.parse::<Targets>().map_err(|fault| fault.to_string())?;
        self.0.targets.store(Arc::new(targets));
        // What was found for each place in the code is out of date.
        callsite::rebuild_interest_cache();
        Ok(())
    }

    fn change(&self) -> std::sync::MutexGuard<'_, Change> {
        self.0.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filter itself, by target and level. It is asked for every span and record, and takes no lock, as
/// one that could tell spans apart by their fields would.
pub(super) struct ByTarget(Arc<ArcSwap<Targets>>);

impl<S: Subscriber> Filter<S> for ByTarget {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        Filter::<S>::enabled(&**self.0.load(), metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        Filter::<S>::callsite_enabled(&**self.0.load(), metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&**self.0.load())
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("LogLevel").field(&self.shown()).finish()
    }
}
