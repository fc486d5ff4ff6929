//! What reaches the supervisor from outside: signals and requests, in the order in which they came.

use std::sync::mpsc::{self, Receiver, Sender};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::control::{self, Reply, Request};
use crate::home::Home;

/// Something to act on.
#[derive(Debug)]
pub(crate) enum Message {
    /// Ctrl-C, the end of the terminal, or `kill`.
    Signal,
    /// The `up --detach` that started this supervisor has gone.
    StarterGone,
    /// A request of another command, which waits for the reply.
    Request(Request, Sender<Reply>),
}

/// Opens the inbox, and the way into it. Requests come by a socket in the run folder.
pub(crate) fn open(home: &Home) -> anyhow::Result<(Receiver<Message>, Sender<Message>)> {
    let (sender, receiver) = mpsc::channel();
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be received")?;
    let of_signals = sender.clone();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if of_signals.send(Message::Signal).is_err() {
                return;
            }
        }
    });
    control::listen(home, sender.clone())?;
    Ok((receiver, sender))
}

/// Watches the starter: it holds the other end of standard input and never writes.
pub(crate) fn watch_starter(inbox: Sender<Message>) {
    std::thread::spawn(move || {
        // However the reading ends, nobody is there any more.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = inbox.send(Message::StarterGone);
    });
}
