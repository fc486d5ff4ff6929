//! What a person sees: progress where there is a terminal, plain lines where there is none.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::log_line;
use crate::mesh::SERVICES;

/// How often a spinner turns.
const SPIN: Duration = Duration::from_millis(120);

/// Width of the column with the service's name.
const NAME_WIDTH: usize = 12;

/// ANSI colours of services, in their order.
const COLOURS: [u8; 6] = [36, 33, 35, 34, 32, 96];
const RED: u8 = 31;
const BOLD: u8 = 1;
const DIM: u8 = 2;

/// What happens while the platform comes up, in the process or told by a detached supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// Something was mended.
    Notice(String),
    /// A service was started.
    Starting(String),
    /// A service is ready, so many milliseconds later.
    Ready(String, u64),
    /// Everything is ready.
    Up,
    /// It did not come up, and why.
    Failed(String),
}

/// Progress on standard error, lines on standard output, the two not in each other's way.
#[derive(Debug)]
pub(crate) struct Screen {
    bars: MultiProgress,
    bar: ProgressBar,
    live: bool,
    colours: bool,
}

impl Screen {
    /// A screen whose progress has so many steps.
    pub(crate) fn new(steps: u64) -> Self {
        let bars = MultiProgress::new();
        let bar = bars.add(ProgressBar::new(steps));
        bar.set_style(style());
        bar.enable_steady_tick(SPIN);
        let live = std::io::stderr().is_terminal();
        Self { bars, bar, live, colours: colours_wanted(std::io::stdout().is_terminal()) }
    }

    /// Says what is being done; a line of its own where there is no terminal.
    pub(crate) fn doing(&self, text: &str) {
        if self.live {
            self.bar.set_message(text.to_owned());
        } else {
            eprintln!("{text}");
        }
    }

    /// Moves the progress, without a word.
    pub(crate) fn advance(&self, done: u64, text: &str) {
        self.bar.set_position(done);
        if self.live {
            self.bar.set_message(text.to_owned());
        }
    }

    /// A line on standard error, above the progress.
    pub(crate) fn note(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// A service's log line on standard output, above the progress.
    pub(crate) fn log(&self, service: &str, line: &str) {
        let rendered = render(service, line, self.colours);
        self.say(&rendered);
    }

    /// A line on standard output, above the progress. That nobody reads any more must not stop the
    /// platform.
    pub(crate) fn say(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        });
    }

    /// Whether there is a terminal that shows progress.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Shows an event of the start.
    pub(crate) fn show(&self, event: &Event) {
        match event {
            Event::Notice(text) => self.note(&format!("mended: {text}")),
            Event::Starting(name) => self.doing(&format!("starting {name}")),
            Event::Ready(name, milliseconds) => {
                self.bar.inc(1);
                let seconds = Duration::from_millis(*milliseconds).as_secs_f64();
                if !self.live {
                    eprintln!("{name} is ready after {seconds:.1} s");
                }
            }
            Event::Up | Event::Failed(_) => self.close(),
        }
    }

    /// Takes the progress away.
    pub(crate) fn close(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

/// A log line with the name of its service before it; JSON becomes readable where a person reads.
pub(crate) fn render(service: &str, line: &str, colours: bool) -> String {
    if !colours {
        return format!("{service:<NAME_WIDTH$} | {line}");
    }
    let colour = SERVICES
        .iter()
        .position(|known| known.name == service)
        .map_or(RED, |index| COLOURS[index % COLOURS.len()]);
    let name = paint(&format!("{service:<NAME_WIDTH$} |"), colour, true);
    match log_line::readable(line) {
        Some(text) if text.severe => format!("{name} {}", paint(&text.text, RED, true)),
        Some(text) if text.minor => format!("{name} {}", paint(&text.text, DIM, true)),
        Some(text) => format!("{name} {}", text.text),
        None => format!("{name} {line}"),
    }
}

/// Whether colours are for whoever reads: a terminal, and <https://no-color.org> not asked for.
pub(crate) fn colours_wanted(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Bold text for standard output.
pub(crate) fn bold(text: &str) -> String {
    paint(text, BOLD, colours_wanted(std::io::stdout().is_terminal()))
}

/// The last word of a command that failed.
pub(crate) fn fail(error: &anyhow::Error) {
    let word = paint("error:", RED, colours_wanted(std::io::stderr().is_terminal()));
    eprintln!("{word} {error:#}");
}

fn paint(text: &str, colour: u8, colours: bool) -> String {
    if colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} [{pos}/{len}] {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_service_and_is_left_as_it_is_without_colours() {
        assert_eq!(render("gateway", "{\"a\":1}", false), "gateway      | {\"a\":1}");
        assert_eq!(render("identity-svc", "plain", false), "identity-svc | plain");
    }

    #[test]
    fn colours_make_json_readable() {
        let line = r#"{"timestamp":"2026-01-02T03:04:05.678Z","level":"ERROR","message":"lost"}"#;
        let rendered = render("gateway", line, true);
        assert!(rendered.contains("\x1b[31m"), "{rendered:?}");
        assert!(rendered.contains("03:04:05.678 ERROR lost"), "{rendered:?}");
    }
}
