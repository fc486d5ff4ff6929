//! Reads the metrics of every process again and again, and keeps what they were for a minute.
//!
//! Counters only grow: how often something happens is seen from two looks at it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::exposition::{self, Series};
use super::metrics::{self, Report};
use crate::http::Request;
use crate::mesh::{PortOffset, SERVICES, Service};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// How far back rates reach.
const WINDOW: Duration = Duration::from_secs(60);

/// The numbers of one process at one time.
pub(super) type Values = HashMap<Arc<Series>, f64>;

/// What the processes said.
#[derive(Debug, Default)]
pub(super) struct Measured(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    looks: HashMap<&'static str, VecDeque<Look>>,
    /// Each series once, however often it was seen.
    known: HashSet<Arc<Series>>,
}

/// What one process said at one time.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// When.
    pub(super) at: Instant,
    /// What.
    pub(super) values: Values,
}

/// Looks for ever.
pub(super) async fn run(measured: Arc<Measured>, offset: PortOffset) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let asking = SERVICES.iter().map(|service| {
            (service.name, tokio::task::spawn_blocking(move || ask(service, offset)))
        });
        for (name, answer) in asking.collect::<Vec<_>>() {
            measured.keep(name, Instant::now(), answer.await.ok().flatten());
        }
    }
}

/// `None` while the process does not answer.
fn ask(service: &Service, offset: PortOffset) -> Option<String> {
    let answer = Request::get("/metrics").send(service.admin_address(offset)).ok()?;
    (answer.status == 200).then_some(answer.body)
}

impl Measured {
    /// What it all comes to.
    pub(super) fn report(&self) -> Report {
        let inner = self.inner();
        let looks = SERVICES.iter().map(|service| {
            let looks = inner.looks.get(service.name);
            let newest = looks.and_then(VecDeque::back);
            let oldest = looks.and_then(VecDeque::front);
            (service.name, newest.zip(oldest))
        });
        metrics::report(looks)
    }

    /// Keeps what a process said. One that does not answer is down, and begins anew.
    fn keep(&self, service: &'static str, at: Instant, page: Option<String>) {
        let mut inner = self.inner();
        let Some(page) = page else {
            inner.looks.remove(service);
            return;
        };
        let samples = exposition::read(&page, metrics::is_wanted);
        let values =
            samples.into_iter().map(|(series, value)| (inner.once(series), value)).collect();
        let looks = inner.looks.entry(service).or_default();
        looks.push_back(Look { at, values });
        while looks.front().is_some_and(|oldest| at.duration_since(oldest.at) > WINDOW) {
            looks.pop_front();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn once(&mut self, series: Series) -> Arc<Series> {
        if let Some(known) = self.known.get(&series) {
            return Arc::clone(known);
        }
        let series = Arc::new(series);
        self.known.insert(Arc::clone(&series));
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_kept_for_the_window_and_a_process_that_is_away_begins_anew() {
        let measured = Measured::default();
        let begin = Instant::now();
        for second in 0..100 {
            let page = format!("mainstay_runtime_busy_ratio 0.5\nother {second}\n");
            measured.keep("gateway", begin + Duration::from_secs(second), Some(page));
        }
        let inner = measured.inner();
        assert_eq!((inner.looks["gateway"].len(), inner.known.len()), (61, 1));
        drop(inner);
        measured.keep("gateway", begin, None);
        assert!(measured.inner().looks.is_empty());
    }
}
