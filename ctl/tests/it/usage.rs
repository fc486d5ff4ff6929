//! What holds for every command: exit codes, one line for an error, closed pipes, completions.

use std::process::Stdio;

use crate::harness::{bare, finished};

#[test]
fn used_wrongly_it_exits_with_2_and_failed_with_1_and_one_line() {
    let folder = std::env::temp_dir().join("mainstayctl-no-platform-here");
    let home = folder.to_str().unwrap();
    let table: [(&[&str], i32, &str); 4] = [
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["dlq", "discard", "some-id"], 2, "--reason"),
        (&["events", "replay", "auth.accounts"], 2, "--consumer"),
        (&["--home", home, "services"], 1, "the mesh cannot be joined"),
    ];
    for (arguments, code, text) in table {
        let answer = finished(bare(arguments).stdin(Stdio::null()).output().unwrap());
        assert_eq!(answer.code, code, "{arguments:?}: {answer:?}");
        assert!(answer.err.contains(text), "{arguments:?}: {answer:?}");
        if code == 1 {
            assert_eq!(answer.err.lines().count(), 1, "{answer:?}");
        }
    }
}

#[test]
fn completions_need_no_platform_and_a_closed_pipe_is_no_failure() {
    for shell in ["bash", "zsh", "fish"] {
        let answer = finished(bare(&["completions", shell]).output().unwrap());
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(answer.out.contains("dlq"), "{shell}");
    }
    let mut command = bare(&["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let answer = finished(child.wait_with_output().unwrap());
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
}
