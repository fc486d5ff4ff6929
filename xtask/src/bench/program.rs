//! The program that measures: one process a phase, and what it tells.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::ground::Ground;
use crate::terminal::Screen;

/// Its name.
const NAME: &str = "mainstay-bench";

/// The program, and where it measures.
pub(super) struct Program<'a> {
    path: PathBuf,
    ground: &'a Ground,
    /// Somebody wants it to end.
    interrupted: Arc<AtomicBool>,
}

/// A line that a phase tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Progress(u64),
    Figures(serde_json::Value),
}

/// The program in this folder.
pub(super) fn find(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join(NAME);
    ensure!(
        path.is_file(),
        "{} is not there\nmend: leave out --no-build, so that it is built",
        path.display()
    );
    Ok(path)
}

impl<'a> Program<'a> {
    /// The program of this path. From here on an interruption ends the phase, not xtask, which
    /// cleans up first.
    pub(super) fn open(path: PathBuf, ground: &'a Ground) -> anyhow::Result<Self> {
        let interrupted = Arc::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        Ok(Self { path, ground, interrupted })
    }

    /// Runs a phase with so many events, and takes its figures.
    pub(super) fn run<F: DeserializeOwned>(
        &self,
        phase: &str,
        what: &str,
        events: u64,
        more: &[(&str, u64)],
    ) -> anyhow::Result<F> {
        let what = format!("{what}: {events}");
        let screen = Screen::new(events);
        screen.doing(&what);
        let mut command = Command::new(&self.path);
        command.arg("events").args(self.ground.args(phase)).envs(self.ground.variables());
        command.arg(phase).arg("--events").arg(events.to_string());
        for (name, value) in more {
            command.arg(name).arg(value.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{NAME} cannot be started"))?;
        let figures = self.follow(&mut child, &screen, &what);
        let status = child.wait()?;
        ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted");
        if !status.success() {
            bail!(
                "the phase `{phase}` failed ({status})\nmend: remove the cause that it names \
                 above; whether the servers answer tells cargo xtask infra status"
            );
        }
        let figures = figures?.with_context(|| format!("the phase `{phase}` told no figures"))?;
        Ok(serde_json::from_value(figures)?)
    }

    /// Reads to the end of the phase, or ends it when somebody wants that.
    fn follow(
        &self,
        child: &mut Child,
        screen: &Screen,
        what: &str,
    ) -> anyhow::Result<Option<serde_json::Value>> {
        let mut figures = None;
        let Some(stdout) = child.stdout.take() else { return Ok(None) };
        for line in BufReader::new(stdout).lines() {
            match serde_json::from_str(&line?)? {
                Line::Progress(done) => screen.advance(done, what),
                Line::Figures(told) => figures = Some(told),
            }
            if self.interrupted.load(Ordering::Relaxed) {
                child.kill()?;
            }
        }
        Ok(figures)
    }
}
