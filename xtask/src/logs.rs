//! `logs`: what services logged, from their files, merged by time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::home::Home;
use crate::mesh::{SERVICES, parse_service};
use crate::{log_line, terminal};

/// How often files are looked at while following.
const POLL: Duration = Duration::from_millis(200);

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The service, or `supervisor`; all of them when absent.
    #[arg(value_parser = parse_name)]
    service: Option<&'static str>,
    /// Go on showing what is added.
    #[arg(long, short)]
    follow: bool,
    /// Last lines of each service to show.
    #[arg(long, short = 'n', default_value_t = 200)]
    lines: usize,
}

const SUPERVISOR: &str = "supervisor";

#[derive(Debug)]
struct Source {
    name: &'static str,
    reader: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

/// Prints the logs.
pub(crate) fn run(home: &Home, args: &LogArgs) -> anyhow::Result<ExitCode> {
    let mut sources: Vec<Source> = names(args.service).map(Source::new).collect();
    let recent = merge(
        sources
            .iter_mut()
            .map(|source| Ok((source.name, source.last(home, args.lines)?)))
            .collect::<anyhow::Result<_>>()?,
    );
    if recent.is_empty() && !args.follow {
        bail!("nothing was logged in {}\nmend: cargo xtask up", home.path("logs").display());
    }
    let mut printed = print(&recent);
    while args.follow && printed {
        std::thread::sleep(POLL);
        for source in &mut sources {
            let added = source.added(home)?;
            printed = print(&added.into_iter().map(|line| (source.name, line)).collect::<Vec<_>>());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_name(name: &str) -> anyhow::Result<&'static str> {
    if name == SUPERVISOR {
        return Ok(SUPERVISOR);
    }
    parse_service(name).map(|service| service.name)
}

fn names(chosen: Option<&'static str>) -> impl Iterator<Item = &'static str> {
    let all = SERVICES.iter().map(|service| service.name).chain([SUPERVISOR]);
    all.filter(move |name| chosen.is_none_or(|chosen| chosen == *name))
}

impl Source {
    fn new(name: &'static str) -> Self {
        Self { name, reader: None, begun: Vec::new() }
    }

    fn last(&mut self, home: &Home, count: usize) -> anyhow::Result<VecDeque<String>> {
        let mut kept = VecDeque::new();
        for line in self.added(home)? {
            if kept.len() == count {
                kept.pop_front();
            }
            kept.push_back(line);
        }
        kept.truncate(count);
        Ok(kept)
    }

    /// The whole lines that were added since the last look.
    fn added(&mut self, home: &Home) -> anyhow::Result<Vec<String>> {
        self.open(home)?;
        let Some(reader) = &mut self.reader else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        while reader.read_until(b'\n', &mut self.begun)? > 0 {
            if self.begun.ends_with(b"\n") {
                lines.push(String::from_utf8_lossy(&self.begun).trim_end().to_owned());
                self.begun.clear();
            }
        }
        Ok(lines)
    }

    /// A service that never ran has no file yet.
    fn open(&mut self, home: &Home) -> anyhow::Result<()> {
        if self.reader.is_some() {
            return Ok(());
        }
        let path = home.log_file(self.name);
        match File::open(&path) {
            Ok(file) => self.reader = Some(BufReader::new(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
        }
        Ok(())
    }
}

/// Merges by time. A line that does not say when it was written belongs to the one before it.
fn merge(sources: Vec<(&'static str, VecDeque<String>)>) -> Vec<(&'static str, String)> {
    let mut stamped = Vec::new();
    for (name, lines) in sources {
        let mut last = String::new();
        for line in lines {
            last = log_line::timestamp(&line).unwrap_or(last);
            stamped.push((last.clone(), name, line));
        }
    }
    stamped.sort_by(|left, right| left.0.cmp(&right.0));
    stamped.into_iter().map(|(_, name, line)| (name, line)).collect()
}

/// `false` when whoever reads has gone, as `| head` does.
fn print(lines: &[(&str, String)]) -> bool {
    let mut output = std::io::stdout().lock();
    let colours = terminal::colours_wanted(std::io::stdout().is_terminal());
    lines
        .iter()
        .all(|(name, line)| writeln!(output, "{}", terminal::render(name, line, colours)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_merged_by_time_and_a_backtrace_stays_with_its_line() {
        let line = |second: u32| format!("{{\"timestamp\":\"2026-01-01T00:00:0{second}Z\"}}");
        let merged = merge(vec![
            ("auth-svc", VecDeque::from([line(1), "panicked at".to_owned(), line(4)])),
            ("gateway", VecDeque::from([line(2), line(3)])),
        ]);
        let names: Vec<&str> = merged.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["auth-svc", "auth-svc", "gateway", "gateway", "auth-svc"]);
        assert_eq!(merged[1].1, "panicked at");
    }

    #[test]
    fn a_line_is_shown_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        let mut source = Source::new("gateway");
        assert_eq!(source.added(&home).unwrap(), Vec::<String>::new());
        std::fs::create_dir(home.path("logs")).unwrap();
        let mut file = File::create(home.log_file("gateway")).unwrap();
        write!(file, "one\ntw").unwrap();
        assert_eq!(source.added(&home).unwrap(), ["one"]);
        writeln!(file, "o").unwrap();
        assert_eq!(source.added(&home).unwrap(), ["two"]);
    }
}
