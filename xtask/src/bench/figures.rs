//! The figures of a run, beside what they are to be.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::summary::mebibytes;

/// Events a second that a relay publishes.
const RELAY_PER_SECOND: f64 = 10_000.0;
/// Milliseconds from commit to effect, for 99 of 100 events.
const P99_MS: f64 = 50.0;
/// So much more memory than with few events waiting is still flat: the allocator's own noise.
const FLAT: f64 = 1.25;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// What every phase sends.
    pub(super) sample: Sample,
    /// The plain producer.
    pub(super) produced: Speed,
    /// The relay.
    pub(super) relayed: Relayed,
    /// The relay with few events waiting.
    pub(super) of_few: Relayed,
    /// The relay with many events waiting.
    pub(super) of_backlog: Relayed,
    /// The way to the consumer.
    pub(super) latency: Latency,
}

/// What every phase sends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    payload_bytes: u64,
    aggregates: u64,
}

/// Events in a time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Speed {
    events: u64,
    seconds: f64,
    cpu_seconds: f64,
}

/// What a relay has published.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Relayed {
    #[serde(flatten)]
    speed: Speed,
    idle_bytes: u64,
    peak_bytes: u64,
}

/// How long events took.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Latency {
    events: u64,
    rate: f64,
    cpu_seconds: f64,
    commit_p99_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Figures {
    /// For people.
    pub(super) fn text(&self) -> String {
        let Sample { payload_bytes, aggregates } = self.sample;
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut text = format!(
            "Events on PostgreSQL and Kafka, {cores} cores for all of it, payload of \
             {payload_bytes} bytes, {aggregates} aggregates\n\n"
        );
        let mut row = |what: &str, cells: [String; 3], remark: &str| {
            let [speed, cpu, memory] = cells;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{what:<34}{speed:>10}{cpu:>12}{memory:>12}  {remark}");
        };
        let head = ["events/s", "CPU/event", "peak memory"].map(str::to_owned);
        row("", head, "");
        row(
            &format!("plain producer, {}", self.produced.events),
            [self.produced.per_second_text(), self.produced.cpu_text(), "-".to_owned()],
            "the limit",
        );
        for relayed in [&self.relayed, &self.of_few, &self.of_backlog] {
            let Relayed { speed, peak_bytes, .. } = relayed;
            let cells = [speed.per_second_text(), speed.cpu_text(), mebibytes(*peak_bytes)];
            row(&format!("relay, {} waiting", speed.events), cells, &self.beside_limit(speed));
        }
        let Latency { events, rate, cpu_seconds, commit_p99_ms, p50_ms, p99_ms, max_ms } =
            &self.latency;
        let cpu = micros(cpu_seconds / *events as f64);
        row(
            &format!("commit to consumed, {events}"),
            [format!("{rate:.0}"), cpu, "-".to_owned()],
            &format!(
                "p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, slowest {max_ms:.1} ms; the commits alone p99 \
                 {commit_p99_ms:.1} ms"
            ),
        );
        text.push('\n');
        for goal in self.goals() {
            let _ = writeln!(text, "{:<7} {}", if goal.met { "met" } else { "missed" }, goal.text);
        }
        text.trim_end().to_owned()
    }

    /// Each goal, with what was measured.
    fn goals(&self) -> [Goal; 3] {
        let speed = self.relayed.speed.per_second();
        let p99 = self.latency.p99_ms;
        let growth = self.of_backlog.peak_bytes as f64 / self.of_few.peak_bytes as f64;
        let (few, many) = (self.of_few.speed.events, self.of_backlog.speed.events);
        [
            Goal {
                met: speed >= RELAY_PER_SECOND,
                text: format!("the relay publishes {RELAY_PER_SECOND} events/s: {speed:.0}"),
            },
            Goal {
                met: p99 < P99_MS,
                text: format!("from commit to consumed in {P99_MS} ms, p99: {p99:.1} ms"),
            },
            Goal {
                met: growth <= FLAT,
                text: format!("as much memory with {many} waiting as with {few}: x {growth:.2}"),
            },
        ]
    }

    fn beside_limit(&self, speed: &Speed) -> String {
        let (speed_ratio, cpu_ratio) = (
            speed.per_second() / self.produced.per_second(),
            speed.cpu_seconds / speed.events as f64 * self.produced.events as f64
                / self.produced.cpu_seconds,
        );
        format!("{:.0} % of the limit's speed, x {cpu_ratio:.1} of its CPU", speed_ratio * 100.0)
    }
}

/// What is to be reached.
struct Goal {
    met: bool,
    text: String,
}

impl Speed {
    fn per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    fn per_second_text(&self) -> String {
        format!("{:.0}", self.per_second())
    }

    fn cpu_text(&self) -> String {
        micros(self.cpu_seconds / self.events as f64)
    }
}

fn micros(seconds: f64) -> String {
    format!("{:.1} us", seconds * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relayed(events: u64, seconds: f64, peak_bytes: u64) -> Relayed {
        let speed = Speed { events, seconds, cpu_seconds: seconds / 2.0 };
        Relayed { speed, idle_bytes: 10 << 20, peak_bytes }
    }

    fn figures(seconds: f64, p99_ms: f64, peak_bytes: u64) -> Figures {
        Figures {
            sample: Sample { payload_bytes: 92, aggregates: 1000 },
            produced: Speed { events: 200_000, seconds: 2.0, cpu_seconds: 1.0 },
            relayed: relayed(200_000, seconds, 30 << 20),
            of_few: relayed(10_000, 1.0, 30 << 20),
            of_backlog: relayed(1_000_000, 100.0, peak_bytes),
            latency: Latency {
                events: 10_000,
                rate: 500.0,
                cpu_seconds: 5.0,
                commit_p99_ms: 4.0,
                p50_ms: 6.0,
                p99_ms,
                max_ms: 80.0,
            },
        }
    }

    #[test]
    fn goals_are_held_against_what_was_measured() {
        let met = |figures: &Figures| figures.goals().map(|goal| goal.met);
        assert_eq!(met(&figures(20.0, 49.9, 31 << 20)), [true, true, true]);
        assert_eq!(met(&figures(20.1, 50.0, 38 << 20)), [false, false, false]);
    }

    #[test]
    fn a_table_says_how_far_the_limit_is() {
        let text = figures(20.0, 12.34, 31 << 20).text();
        for part in [
            "payload of 92 bytes",
            "plain producer, 200000                100000      5.0 us",
            "relay, 1000000 waiting                 10000     50.0 us    31.0 MiB  10 % of the",
            "x 10.0 of its CPU",
            "p50 6.0 ms, p99 12.3 ms, slowest 80.0 ms; the commits alone p99 4.0 ms",
            "met     the relay publishes 10000 events/s: 10000",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
