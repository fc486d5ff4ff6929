//! Rounds over all contenders, and what each took.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backend::Backend;
use super::cases::Case;
use super::contender::{Contender, Kind, direct};
use super::load::{Score, fire};

/// Connections of the load.
const CONNECTIONS: u32 = 16;

/// How long is fired before it counts, for connections, caches and the clock of the CPU.
const WARM_UP: Duration = Duration::from_millis(300);

/// What was measured of one case of one contender, the median of all rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// CPU time of the process for one request, in microseconds.
    pub(super) cpu_micros: f64,
}

/// All cells.
pub(super) type Figures = BTreeMap<(Case, Kind), Cell>;

/// Fires at each contender in turn, case by case, round by round: what disturbs the machine for a
/// while disturbs them all.
pub(super) async fn rounds(
    contenders: &[Contender],
    cases: &[Case],
    rounds: u32,
    time: Duration,
) -> anyhow::Result<Figures> {
    let mut cells: BTreeMap<(Case, Kind), Vec<Cell>> = BTreeMap::new();
    for round in 1..=rounds {
        for case in cases {
            for contender in contenders {
                contender.verify(*case).await?;
                let cell = one(contender, *case, time).await?;
                eprintln!(
                    "round {round}, {}, {}: {:.0}/s, {:.1} us",
                    case.name(),
                    contender.kind.name(),
                    cell.per_second,
                    cell.cpu_micros
                );
                cells.entry((*case, contender.kind)).or_default().push(cell);
            }
        }
    }
    Ok(cells.into_iter().map(|(key, cells)| (key, median(&cells))).collect())
}

async fn one(contender: &Contender, case: Case, time: Duration) -> anyhow::Result<Cell> {
    let (address, shot) = (contender.address, contender.shot(case));
    fire(address, &shot, CONNECTIONS, WARM_UP, None).await?;
    let before = contender.cpu_seconds()?;
    let score = fire(address, &shot, CONNECTIONS, time, None).await?;
    Ok(cell(&score, contender.cpu_seconds()? - before))
}

fn cell(score: &Score, cpu_seconds: f64) -> Cell {
    Cell {
        per_second: score.per_second(),
        p50_ms: score.percentile_ms(0.5),
        p99_ms: score.percentile_ms(0.99),
        cpu_micros: cpu_seconds * 1e6 / score.requests as f64,
    }
}

/// By each figure for itself.
fn median(cells: &[Cell]) -> Cell {
    let of = |figure: fn(&Cell) -> f64| middle(cells.iter().map(figure).collect());
    Cell {
        per_second: of(|cell| cell.per_second),
        p50_ms: of(|cell| cell.p50_ms),
        p99_ms: of(|cell| cell.p99_ms),
        cpu_micros: of(|cell| cell.cpu_micros),
    }
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// What a call is like at half the load that a contender carries, the median of all rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HalfLoad {
    /// What it adds to the 99th percentile of the backend alone, in milliseconds.
    pub(super) added_p99_ms: f64,
    /// CPU time of the process for one request, in microseconds.
    pub(super) cpu_micros: f64,
}

/// Fires `get` at the backend alone and at each contender in turn, round by round, at half the rate that
/// `of` carried.
pub(super) async fn half_load(
    backend: &Backend,
    contenders: &[Contender],
    of: Cell,
    rounds: u32,
    time: Duration,
) -> anyhow::Result<BTreeMap<Kind, HalfLoad>> {
    let rate = Some(of.per_second / 2.0);
    let mut figures: BTreeMap<Kind, Vec<HalfLoad>> = BTreeMap::new();
    for _ in 0..rounds {
        let alone = fire(backend.address, &direct(Case::Get), CONNECTIONS, time, rate).await?;
        for contender in contenders {
            let (address, shot) = (contender.address, contender.shot(Case::Get));
            let before = contender.cpu_seconds()?;
            let score = fire(address, &shot, CONNECTIONS, time, rate).await?;
            let cell = cell(&score, contender.cpu_seconds()? - before);
            figures.entry(contender.kind).or_default().push(HalfLoad {
                added_p99_ms: cell.p99_ms - alone.percentile_ms(0.99),
                cpu_micros: cell.cpu_micros,
            });
        }
    }
    let median = |rounds: Vec<HalfLoad>| HalfLoad {
        added_p99_ms: middle(rounds.iter().map(|half| half.added_p99_ms).collect()),
        cpu_micros: middle(rounds.iter().map(|half| half.cpu_micros).collect()),
    };
    Ok(figures.into_iter().map(|(kind, rounds)| (kind, median(rounds))).collect())
}
