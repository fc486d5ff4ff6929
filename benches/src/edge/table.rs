//! The figures for people, beside what they are to be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cases::Case;
use super::contender::Kind;
use super::measure::{Cell, Figures, HalfLoad};

/// Milliseconds that the gateway may add at half load, for 99 of 100 calls.
const ADDED_P99_MS: f64 = 0.5;
/// Microseconds that all policies may cost.
const POLICIES_MICROS: f64 = 4.0;
/// The part of the CPU that telemetry may cost.
const TELEMETRY: f64 = 0.05;
/// So much more CPU a request may take on two cores.
const TWO_WORKERS: f64 = 1.1;

/// One of the figures.
type Figure = fn(&Cell) -> f64;

/// The table, and the goals that can be judged by it.
pub(super) fn text(figures: &Figures, cases: &[Case], half: &BTreeMap<Kind, HalfLoad>) -> String {
    let mut text = String::new();
    let columns: [(&str, Figure); 4] = [
        ("CPU microseconds of the process per request", |cell| cell.cpu_micros),
        ("requests a second", |cell| cell.per_second),
        ("p50, milliseconds", |cell| cell.p50_ms),
        ("p99, milliseconds", |cell| cell.p99_ms),
    ];
    for (title, figure) in columns {
        // Writing to a string cannot fail.
        let _ = write!(text, "{title:<46}");
        for case in cases {
            let _ = write!(text, "{:>10}", case.name());
        }
        text.push('\n');
        for kind in Kind::ALL {
            let cells: Vec<_> = cases.iter().map(|case| figures.get(&(*case, kind))).collect();
            if cells.iter().all(Option::is_none) {
                continue;
            }
            let _ = write!(text, "  {:<44}", kind.name());
            for cell in cells {
                let shown = cell.map(figure).map_or("-".to_owned(), |value| format!("{value:.1}"));
                let _ = write!(text, "{shown:>10}");
            }
            text.push('\n');
        }
        text.push('\n');
    }
    if !half.is_empty() {
        let title = "get at half the load of the first";
        let _ = writeln!(text, "{title:<46}{:>10}{:>10}", "us", "+p99, ms");
        for kind in Kind::ALL {
            let Some(HalfLoad { added_p99_ms, cpu_micros }) = half.get(&kind) else { continue };
            let name = kind.name();
            let _ = writeln!(text, "  {name:<44}{cpu_micros:>10.1}{added_p99_ms:>10.2}");
        }
        text.push('\n');
    }
    for goal in goals(figures, half) {
        let _ = writeln!(text, "{:<7} {}", if goal.met { "met" } else { "missed" }, goal.text);
    }
    text.trim_end().to_owned()
}

struct Goal {
    met: bool,
    text: String,
}

fn goals(figures: &Figures, half: &BTreeMap<Kind, HalfLoad>) -> Vec<Goal> {
    let cpu = |case, kind| figures.get(&(case, kind)).map(|cell| cell.cpu_micros);
    let beside = |case: Case, peer: Kind, most: f64| {
        let ratio = cpu(case, Kind::MainstayOn)? / cpu(case, peer)?;
        let text = format!("{}: {most} x {}: {ratio:.2}", case.name(), peer.name());
        Some(Goal { met: ratio <= most, text })
    };
    let mut goals = Vec::new();
    for case in [Case::Get, Case::Create] {
        goals.extend(beside(case, Kind::StructuredOn, 0.65));
        goals.extend(beside(case, Kind::Nginx, 1.0));
    }
    for (case, most) in [(Case::Tree, 3.0), (Case::List, 3.5), (Case::Stream, 4.0)] {
        goals.extend(beside(case, Kind::Nginx, most));
    }
    let get = |kind| cpu(Case::Get, kind);
    if let Some((on, off)) = get(Kind::MainstayOn).zip(get(Kind::MainstayOff)) {
        let cost = on - off;
        let text = format!("policies cost {POLICIES_MICROS} us: {cost:.1}");
        goals.push(Goal { met: cost <= POLICIES_MICROS, text });
    }
    for (kind, what) in
        [(Kind::MainstayTold, "telemetry"), (Kind::MainstayUnheard, "a collector that is away")]
    {
        if let Some((silent, told)) = get(Kind::MainstayOn).zip(get(kind)) {
            let cost = told / silent - 1.0;
            let text = format!("{what} costs {:.0} %: {:.1}", TELEMETRY * 100.0, cost * 100.0);
            goals.push(Goal { met: cost <= TELEMETRY, text });
        }
    }
    if let Some((one, two)) = get(Kind::MainstayOn).zip(get(Kind::MainstayTwo)) {
        let ratio = two / one;
        let text = format!("two workers: {TWO_WORKERS} x one: {ratio:.2}");
        goals.push(Goal { met: ratio <= TWO_WORKERS, text });
    }
    let cpu_at_half = |kind| half.get(&kind).map(|half| half.cpu_micros);
    if let Some((one, two)) = cpu_at_half(Kind::MainstayOn).zip(cpu_at_half(Kind::MainstayTwo)) {
        let ratio = two / one;
        let text = format!("two workers at the same load: {TWO_WORKERS} x one: {ratio:.2}");
        goals.push(Goal { met: ratio <= TWO_WORKERS, text });
    }
    if let Some(added) = half.get(&Kind::MainstayOn).map(|half| half.added_p99_ms) {
        let text = format!("{ADDED_P99_MS} ms added at half load, p99: {added:.2}");
        goals.push(Goal { met: added <= ADDED_P99_MS, text });
    }
    goals
}
