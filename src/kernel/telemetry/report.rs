//! The error bus: what was logged as an error is also told to whoever is to mend it.
//!
//! Everything that fails for an internal reason is logged once, at the level `error`, where it is handled.
//! This layer hears of it and hands it to a [`Reporter`], in the background: what cannot be handed over is
//! dropped and counted, and no call waits. Of one place in the code one report is sent in a while, with how
//! many more there were; of all together so many a minute. Personal data is taken out of the texts.

mod sentry;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use regex::Regex;
use tokio::sync::{mpsc, oneshot};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

use super::log::{Fields, Ids};
use crate::kernel::error::ErrorClass;
use crate::kernel::settings::ReporterSettings;

pub use sentry::Sentry;

/// Reports that wait to be sent; more are dropped.
const QUEUE: usize = 100;
/// Of one place in the code a report is sent so often at most.
const SAME_PLACE: Duration = Duration::from_secs(10);
/// So many places are remembered.
const PLACES: usize = 1000;
/// How long the window of the limit is.
const WINDOW: Duration = Duration::from_secs(60);
/// The longest text of a report, in bytes.
const LONGEST: usize = 8 * 1024;

/// What an e-mail address or a token looks like in a text.
static PERSONAL: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"[\w.+%-]+@[\w-]+(\.[\w-]+)+|eyJ[\w-]+\.[\w-]+\.[\w-]+|(?i:bearer)\s+\S+";
    Regex::new(pattern).expect("the pattern is sound")
});

/// One error.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its id.
    pub id: Uuid,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The service, such as `auth-svc`.
    pub service: &'static str,
    /// The service's version.
    pub version: &'static str,
    /// Where the service runs, as the settings call it.
    pub environment: String,
    /// Whose fault it is.
    pub class: ErrorClass,
    /// What has happened.
    pub message: String,
    /// What is known of the cause.
    pub cause: Option<String>,
    /// The module that logged it.
    pub module: String,
    /// The file and the line, of a panic those where it happened.
    pub place: String,
    /// The calls that led there, of a panic.
    pub backtrace: Option<String>,
    /// The trace, the span, the request and the hashed subject, as far as there are any.
    pub ids: Ids,
    /// How many of the same place were left out since the last one that was reported.
    pub left_out: u64,
}

/// Who is told of errors.
#[async_trait]
pub trait Reporter: Send + Sync + 'static {
    /// Tells of one.
    ///
    /// # Errors
    /// When it could not be told; it is not tried again.
    async fn report(&self, report: &Report) -> Result<(), Undelivered>;
}

/// Why a report was not taken.
#[derive(Debug)]
pub enum Undelivered {
    /// There are too many: none for so long.
    Pause(Duration),
    /// It is lost.
    Lost(anyhow::Error),
}

/// What the sender is told.
enum Order {
    Send(Box<Report>),
    /// To say when everything before it was sent.
    Flush(oneshot::Sender<()>),
}

/// Hears of errors that are logged.
pub(super) struct ReportLayer {
    service: &'static str,
    version: &'static str,
    environment: String,
    orders: mpsc::Sender<Order>,
    limits: Mutex<Limits>,
}

/// The other end of the layer, to wait at.
#[derive(Clone, Debug)]
pub(super) struct Reports(mpsc::Sender<Order>);

impl ReportLayer {
    /// A layer that tells `reporter`. To be called within a Tokio runtime.
    pub(super) fn new(
        service: &'static str,
        version: &'static str,
        settings: &ReporterSettings,
        reporter: Arc<dyn Reporter>,
    ) -> (Self, Reports) {
        let (orders, received) = mpsc::channel(QUEUE);
        tokio::spawn(send_all(reporter, received));
        let layer = Self {
            service,
            version,
            environment: settings.environment.clone(),
            orders: orders.clone(),
            limits: Mutex::new(Limits::new(settings.per_minute)),
        };
        (layer, Reports(orders))
    }
}

impl Reports {
    /// Waits until what was reported so far is sent.
    pub(super) async fn flush(&self) {
        let (done, sent) = oneshot::channel();
        if self.0.send(Order::Flush(done)).await.is_ok() {
            // A sender that is gone has nothing left to send.
            let _ = sent.await;
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ReportLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        // What goes wrong with reports is for the log alone.
        if *metadata.level() != tracing::Level::ERROR || metadata.target() == module_path!() {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let panic = fields.text("panic");
        let place = fields.text("location").unwrap_or_else(|| {
            let file = metadata.file().unwrap_or_default();
            format!("{file}:{}", metadata.line().unwrap_or_default())
        });
        let admitted = {
            let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            limits.admit(&place, Instant::now())
        };
        let Some(left_out) = admitted else { return };
        let report = Report {
            id: Uuid::now_v7(),
            time: Utc::now(),
            service: self.service,
            version: self.version,
            environment: self.environment.clone(),
            class: if panic.is_some() { ErrorClass::Panic } else { ErrorClass::System },
            message: scrubbed(&fields.message),
            cause: panic
                .or_else(|| ["error", "cause", "reason"].iter().find_map(|name| fields.text(name)))
                .map(|cause| scrubbed(&cause)),
            module: metadata.target().to_owned(),
            place,
            backtrace: fields.text("backtrace"),
            ids: Ids::of(event, &context),
            left_out,
        };
        // A full queue drops it: no call waits for the bus.
        let _ = self.orders.try_send(Order::Send(Box::new(report)));
    }
}

/// Sends one after the other, for as long as the process lives.
async fn send_all(reporter: Arc<dyn Reporter>, mut orders: mpsc::Receiver<Order>) {
    let (mut paused_until, mut lost) = (Instant::now(), 0_u64);
    while let Some(order) = orders.recv().await {
        let report = match order {
            Order::Send(report) => report,
            Order::Flush(done) => {
                // Who asked may have given up.
                let _ = done.send(());
                continue;
            }
        };
        if Instant::now() < paused_until {
            continue;
        }
        match reporter.report(&report).await {
            Ok(()) => {}
            Err(Undelivered::Pause(pause)) => {
                tracing::warn!(?pause, "there are too many error reports");
                paused_until = Instant::now() + pause;
            }
            Err(Undelivered::Lost(error)) => {
                lost += 1;
                if lost.is_power_of_two() {
                    tracing::warn!(error = format!("{error:#}"), lost, "an error report is lost");
                }
            }
        }
    }
}

/// How many reports there may be.
struct Limits {
    most: u32,
    window_begun: Instant,
    in_window: u32,
    places: HashMap<String, Place>,
}

struct Place {
    reported: Instant,
    left_out: u64,
}

impl Limits {
    fn new(most: u32) -> Self {
        Self { most, window_begun: Instant::now(), in_window: 0, places: HashMap::new() }
    }

    /// How many of this place were left out before, if this one is to be reported.
    fn admit(&mut self, place: &str, now: Instant) -> Option<u64> {
        if now.duration_since(self.window_begun) >= WINDOW {
            (self.window_begun, self.in_window) = (now, 0);
        }
        let full = self.in_window >= self.most;
        match self.places.get_mut(place) {
            Some(known) if full || now.duration_since(known.reported) < SAME_PLACE => {
                known.left_out += 1;
                return None;
            }
            None if full => return None,
            _ => {}
        }
        self.in_window += 1;
        if self.places.len() >= PLACES {
            self.places.clear();
        }
        let before = self.places.insert(place.to_owned(), Place { reported: now, left_out: 0 });
        Some(before.map_or(0, |before| before.left_out))
    }
}

/// The text without addresses and tokens, and not too long.
fn scrubbed(text: &str) -> String {
    let mut text = PERSONAL.replace_all(text, "[redacted]").into_owned();
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_is_reported_now_and_then_with_how_many_there_were() {
        let mut limits = Limits::new(3);
        let begun = Instant::now();
        let later = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(limits.admit("a.rs:1", begun), Some(0));
        for _ in 0..5 {
            assert_eq!(limits.admit("a.rs:1", later(1)), None);
        }
        assert_eq!(limits.admit("b.rs:2", later(2)), Some(0), "another place");
        assert_eq!(limits.admit("a.rs:1", later(11)), Some(5));
        assert_eq!(
            limits.admit("c.rs:3", later(12)),
            None,
            "three are all there may be in a minute"
        );
        assert_eq!(limits.admit("b.rs:2", later(30)), None);
        assert_eq!(limits.admit("b.rs:2", later(61)), Some(1), "a new minute");
    }

    #[test]
    fn texts_are_told_without_whom_they_are_about() {
        let text =
            "key (ada.l+x@mail.example.com) exists; Authorization: Bearer abc.def; eyJh.eyJz.c2ln!";
        let told = scrubbed(text);
        assert_eq!(told, "key ([redacted]) exists; Authorization: [redacted] [redacted]!");
        assert_eq!(scrubbed(&"é".repeat(LONGEST)).len(), LONGEST);
    }
}
