//! The command line, run as an operator would.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use mainstay_testing::Platform;
use serde_json::Value;

/// An operator at a platform.
pub(crate) struct Operator {
    home: PathBuf,
    registry: Vec<(String, String)>,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Operator {
    pub(crate) fn of(platform: &Platform) -> Self {
        Self { home: platform.path().to_owned(), registry: platform.registry_variables() }
    }

    /// A command with the platform stated.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(arguments);
        command.env("MAINSTAY_HOME", &self.home);
        command.envs(self.registry.iter().map(|(name, value)| (name, value)));
        command.env("MAINSTAYCTL_SESSION", self.home.join("session.json"));
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        finished(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs a command that succeeds, and reads its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.run(&[&["--output", "json"], arguments].concat());
        assert_eq!(answer.code, 0, "{arguments:?}: {answer:?}");
        serde_json::from_str(&answer.out).unwrap_or_else(|_| panic!("no JSON: {answer:?}"))
    }

    /// Logs in with a password on standard input.
    pub(crate) fn log_in(&self, email: &str, password: &str) -> Answer {
        use std::io::Write as _;
        let arguments = ["login", "--email", email, "--password-stdin"];
        let mut command = self.command(&arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
        finished(child.wait_with_output().unwrap())
    }
}

/// The command alone, with nothing of the caller's environment that concerns it.
pub(crate) fn bare(arguments: &[&str]) -> Command {
    let mut command = mainstay_testing::command(mainstay_testing::binary("mainstayctl"));
    command.args(arguments);
    command
}

pub(crate) fn finished(output: Output) -> Answer {
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
