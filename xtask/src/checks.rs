//! `test` and `ci`: the same on every machine.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::{compile, tidy, workspace};

/// Builds the workspace, whose binaries the stories run, and runs every test.
pub(crate) fn test(args: &[String]) -> anyhow::Result<ExitCode> {
    compile::run_with_examples()?;
    let status = workspace::cargo().args(["test", "--workspace"]).args(args).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything that must hold before a change is merged, cheap steps first, stopping at the first
/// failure. The tests come last, so that the runner's own result closes the output.
pub(crate) fn ci() -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let mut passed = Vec::new();
    for step in steps() {
        if let Some(last_word) = step.last_word {
            eprintln!("==> {} ({last_word}; passed so far: {})", step.name, passed.join(", "));
        } else {
            eprintln!("==> {}", step.name);
        }
        let step_begun = Instant::now();
        let outcome = (step.run)().with_context(|| {
            let (name, taken) = (step.name, seconds(step_begun.elapsed()));
            format!("ci stopped at step {name} after {taken} ({} in all)", seconds(begun.elapsed()))
        })?;
        let taken = seconds(step_begun.elapsed());
        match outcome {
            Outcome::Passed if step.last_word.is_some() => {}
            Outcome::Passed => eprintln!("==> {} passed in {taken}", step.name),
            Outcome::NotRun(why) => eprintln!("==> {} was not run: {why}", step.name),
        }
        passed.push(format!("{} {taken}", step.name));
    }
    Ok(ExitCode::SUCCESS)
}

struct Step {
    name: &'static str,
    /// Said before the step in the place of a line after it.
    last_word: Option<&'static str>,
    run: fn() -> anyhow::Result<Outcome>,
}

enum Outcome {
    Passed,
    NotRun(&'static str),
}

fn steps() -> Vec<Step> {
    let step = |name, run| Step { name, last_word: None, run };
    vec![
        step("fmt", || cargo(&["fmt", "--all", "--", "--check"])),
        step("tidy", || tidy::run().map(|_| Outcome::Passed)),
        step("clippy", || {
            cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
        }),
        step("build", || {
            finish(
                workspace::cargo()
                    .args(["build", "--workspace", "--locked"])
                    .args(compile::WITH_EXAMPLES),
            )
        }),
        step("doc", doc),
        step("deny", deny),
        step("doctest", || cargo(&["test", "--workspace", "--locked", "--doc"])),
        Step {
            name: "test",
            last_word: Some("the last step, the runner's result closes the output"),
            run: || {
                // All but documentation, whose tests ran in a step of their own.
                cargo(&[
                    "test",
                    "--workspace",
                    "--locked",
                    "--no-fail-fast",
                    "--lib",
                    "--bins",
                    "--tests",
                ])
            },
        },
    ]
}

fn doc() -> anyhow::Result<Outcome> {
    let mut command = workspace::cargo();
    command.args(["doc", "--workspace", "--no-deps", "--locked"]);
    finish(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> anyhow::Result<Outcome> {
    let probe = workspace::cargo()
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !probe.success() {
        return Ok(Outcome::NotRun(
            "cargo-deny is not installed: cargo install --locked cargo-deny",
        ));
    }
    cargo(&["deny", "check"])
}

fn cargo(args: &[&str]) -> anyhow::Result<Outcome> {
    finish(workspace::cargo().args(args))
}

fn finish(command: &mut Command) -> anyhow::Result<Outcome> {
    let status = command.status().context("cargo cannot be started")?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        bail!("`cargo {}` failed ({status})", args.join(" "));
    }
    Ok(Outcome::Passed)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_come_last_so_that_their_result_closes_the_output() {
        let steps = steps();
        let (last, before) = steps.split_last().unwrap();
        assert_eq!(last.name, "test");
        assert!(last.last_word.is_some());
        assert!(before.iter().all(|step| step.last_word.is_none()));
    }
}
