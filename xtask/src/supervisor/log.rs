//! What a service writes: into its file, onto the screen, and the last lines kept at hand.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context as _;

use crate::home::Home;
use crate::log_line;
use crate::observe::Memory;
use crate::terminal::Screen;

/// A file larger than this is set aside as `<name>.log.1`, in the place of the one before.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// How many last lines explain why a service died.
const TAIL_LINES: usize = 20;

/// The log of one service over all of its processes.
#[derive(Debug)]
pub(crate) struct ServiceLog {
    name: &'static str,
    screen: Option<Arc<Screen>>,
    memory: Option<Arc<Memory>>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    size: u64,
    tail: VecDeque<String>,
}

impl ServiceLog {
    /// Opens the log of a service; lines are shown on the screen too, and kept by the observer, if there
    /// is one.
    pub(crate) fn open(
        home: &Home,
        name: &'static str,
        screen: Option<Arc<Screen>>,
        memory: Option<Arc<Memory>>,
    ) -> anyhow::Result<Arc<Self>> {
        let path = home.log_file(name);
        let (file, size) = append_to(&path)?;
        let inner = Mutex::new(Inner { path, file, size, tail: VecDeque::new() });
        Ok(Arc::new(Self { name, screen, memory, inner }))
    }

    /// Adds a line.
    pub(crate) fn line(&self, line: &str) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).add(line);
        if let Some(screen) = &self.screen {
            screen.log(self.name, line);
        }
        if let Some(memory) = &self.memory {
            memory.line(self.name, line);
        }
    }

    /// Adds a line of the supervisor's own, with its time.
    pub(crate) fn say(&self, message: &str) {
        self.line(&log_line::record(self.name, message));
    }

    /// A new process begins: what the one before said explains nothing about it.
    pub(crate) fn begin(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).tail.clear();
    }

    /// The last lines of the process.
    pub(crate) fn tail(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tail.iter().cloned().collect()
    }

    /// Takes in what a process writes, until it closes its end.
    pub(crate) fn follow(self: &Arc<Self>, pipe: PipeReader) -> JoinHandle<()> {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                log.line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
                line.clear();
            }
        })
    }
}

impl Inner {
    /// A full disk must not stop the platform: the tail and the screen still have the line.
    fn add(&mut self, line: &str) {
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        if self.size > MAX_FILE_BYTES {
            self.set_aside();
        }
        if self.file.write_all(format!("{line}\n").as_bytes()).is_ok() {
            self.size += line.len() as u64 + 1;
        }
    }

    fn set_aside(&mut self) {
        let renamed = std::fs::rename(&self.path, self.path.with_extension("log.1"));
        if let (Ok(()), Ok((file, size))) = (renamed, append_to(&self.path)) {
            (self.file, self.size) = (file, size);
        }
    }
}

fn append_to(path: &PathBuf) -> anyhow::Result<(File, u64)> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("log {} cannot be written", path.display()))?;
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_file_and_the_last_ones_are_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        std::fs::create_dir(home.path("logs")).unwrap();
        let log = ServiceLog::open(&home, "auth-svc", None, None).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let follower = log.follow(reader);
        for number in 0..30 {
            writeln!(writer, "line {number}").unwrap();
        }
        writer.write_all(b"torn \xff").unwrap();
        drop(writer);
        follower.join().unwrap();
        let written = std::fs::read_to_string(home.log_file("auth-svc")).unwrap();
        assert_eq!(written.lines().count(), 31);
        assert_eq!(log.tail().len(), TAIL_LINES);
        assert_eq!(log.tail().last().unwrap(), "torn \u{fffd}");
        log.begin();
        assert!(log.tail().is_empty());
    }
}
