//! What is told to xtask: one JSON object a line on standard output.

use std::io::Write as _;

use serde::Serialize;

/// A line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a, F> {
    /// So much of the phase is done.
    Progress(u64),
    /// What came of the phase.
    Figures(&'a F),
}

/// Tells how much is done.
pub(crate) fn progress(done: u64) -> anyhow::Result<()> {
    write(&Line::<()>::Progress(done))
}

/// Tells what came of the phase.
pub(crate) fn figures(figures: &impl Serialize) -> anyhow::Result<()> {
    write(&Line::Figures(figures))
}

fn write(line: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
