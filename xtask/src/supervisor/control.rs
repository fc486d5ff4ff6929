//! How other commands speak with the supervisor: a socket in the run folder, one JSON line each way.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::inbox::Message;
use crate::home::Home;

/// How long the other side may take for its one line.
const LINE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a request may take: a restart of everything drains and starts six services.
const REPLY_PATIENCE: Duration = Duration::from_secs(600);

/// What can be asked of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Drain and end. The reply says that it began.
    Down,
    /// Restart one service, or all. The reply says that they are ready.
    Restart(Option<String>),
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Done, with a word about it.
    Done(String),
    /// Not done, and why.
    Failed(String),
}

/// Asks the supervisor of a state folder and waits for its reply.
pub(crate) fn ask(home: &Home, request: &Request) -> anyhow::Result<String> {
    let stream = connect(home).context("the supervisor does not answer")?;
    stream.set_read_timeout(Some(REPLY_PATIENCE))?;
    writeln!(&stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).context("the supervisor does not answer")?;
    if line.is_empty() {
        bail!("the supervisor ended before it answered");
    }
    match serde_json::from_str(&line).context("the supervisor's answer is not understood")? {
        Reply::Done(word) => Ok(word),
        Reply::Failed(why) => bail!(why),
    }
}

/// Listens for requests and puts them into the inbox.
pub(super) fn listen(home: &Home, inbox: Sender<Message>) -> anyhow::Result<()> {
    let listener =
        through_folder(home, UnixListener::bind).context("the control socket cannot be made")?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let inbox = inbox.clone();
            std::thread::spawn(move || serve(&stream, &inbox));
        }
    });
    Ok(())
}

fn serve(stream: &UnixStream, inbox: &Sender<Message>) -> Option<()> {
    stream.set_read_timeout(Some(LINE_PATIENCE)).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => {
            let (sender, reply) = mpsc::channel();
            inbox.send(Message::Request(request, sender)).ok()?;
            reply.recv().ok()?
        }
        Err(error) => Reply::Failed(format!("the request is not understood: {error}")),
    };
    let mut writer = stream;
    writeln!(writer, "{}", serde_json::to_string(&reply).ok()?).ok()
}

fn connect(home: &Home) -> std::io::Result<UnixStream> {
    through_folder(home, UnixStream::connect)
}

/// A socket's path may have 107 bytes at most, a state folder's may be longer: it is reached through
/// the open folder instead.
fn through_folder<T>(
    home: &Home,
    action: impl FnOnce(PathBuf) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let folder = File::open(home.run_folder())?;
    action(PathBuf::from(format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reaches_the_inbox_and_the_reply_comes_back_however_long_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("deep/".repeat(40))).unwrap();
        std::fs::create_dir(home.run_folder()).unwrap();
        let (sender, inbox) = mpsc::channel();
        listen(&home, sender).unwrap();
        let asker = std::thread::spawn({
            let home = home.clone();
            move || [ask(&home, &Request::Down), ask(&home, &Request::Restart(None))]
        });
        let Message::Request(Request::Down, reply) = inbox.recv().unwrap() else { panic!() };
        reply.send(Reply::Done("draining".into())).unwrap();
        let Message::Request(Request::Restart(None), reply) = inbox.recv().unwrap() else {
            panic!()
        };
        reply.send(Reply::Failed("auth-svc died".into())).unwrap();
        let [down, restart] = asker.join().unwrap();
        assert_eq!(down.unwrap(), "draining");
        assert_eq!(restart.unwrap_err().to_string(), "auth-svc died");
    }

    #[test]
    fn nobody_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        let error = ask(&home, &Request::Down).unwrap_err().to_string();
        assert!(error.contains("does not answer"), "{error}");
    }
}
