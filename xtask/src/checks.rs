//! `test` and `ci`: the same on every machine.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::home::Home;
use crate::infra::{self, Endpoints, INFRA_VARIABLE};
use crate::{api, chart, compile, proto, tidy, upgrade, workspace};

/// Every test of the workspace but those in documentation, and the targets that only run when they
/// are named, which a pattern does.
const ALL_TARGETS: [&str; 4] = ["--lib", "--bins", "--test", "*"];

/// Why nothing is said about the chart.
const NO_HELM: &str = "helm is not installed: cargo xtask chart check says how";

/// Why nothing is said about an installation.
const NO_GO: &str = "go is not installed: cargo xtask chart install says how";

/// Why nothing is said about an upgrade.
const NO_HISTORY: &str = "the version before is not in this clone: cargo xtask upgrade says how";

/// Flags that choose targets.
const TARGET_FLAGS: [&str; 5] = ["--test", "--tests", "--lib", "--bin", "--bins"];

/// Builds the workspace, whose binaries the stories run, and runs every test.
pub(crate) fn test(args: &[String]) -> anyhow::Result<ExitCode> {
    compile::run_with_examples()?;
    let status = workspace::cargo().args(["test", "--workspace"]).args(args).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As [`test()`], on real servers, which go on running afterwards.
pub(crate) fn test_real(home: &Home, args: &[String]) -> anyhow::Result<ExitCode> {
    infra::ensure(home, None)?;
    eprintln!("the servers go on running; cargo xtask infra down stops them");
    compile::run_with_examples()?;
    let status = on_real_servers(home, args).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tests of all targets, unless the arguments choose some.
fn on_real_servers(home: &Home, args: &[String]) -> Command {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace"]).env(INFRA_VARIABLE, Endpoints::file(home));
    let of_cargo = args.iter().take_while(|arg| *arg != "--");
    let chosen = of_cargo.into_iter().any(|arg| TARGET_FLAGS.contains(&arg.as_str()));
    if !chosen {
        command.args(ALL_TARGETS);
    }
    command.args(args);
    command
}

/// Everything that must hold before a change is merged, cheap steps first, stopping at the first
/// failure. The tests come last, so that the runner's own result closes the output.
pub(crate) fn ci(home: &Home) -> anyhow::Result<ExitCode> {
    let mut run = Run { home: home.clone(), servers: Vec::new() };
    let outcome = run.steps();
    // Servers that were started for the run end with it; silently, after the runner's last line.
    let stopped = infra::stop(home, &run.servers);
    outcome.and(stopped).map(|()| ExitCode::SUCCESS)
}

/// What the steps of one run share.
struct Run {
    home: Home,
    /// Servers that the run itself started.
    servers: Vec<&'static str>,
}

impl Run {
    fn steps(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut passed = Vec::new();
        for step in steps() {
            if let Some(last_word) = step.last_word {
                eprintln!("==> {} ({last_word}; passed so far: {})", step.name, passed.join(", "));
            } else {
                eprintln!("==> {}", step.name);
            }
            let step_begun = Instant::now();
            let outcome = (step.run)(self).with_context(|| {
                let (name, taken) = (step.name, seconds(step_begun.elapsed()));
                let in_all = seconds(begun.elapsed());
                format!("ci stopped at step {name} after {taken} ({in_all} in all)")
            })?;
            let taken = seconds(step_begun.elapsed());
            match outcome {
                Outcome::Passed if step.last_word.is_some() => {}
                Outcome::Passed => eprintln!("==> {} passed in {taken}", step.name),
                Outcome::NotRun(why) => eprintln!("==> {} was not run: {why}", step.name),
            }
            passed.push(format!("{} {taken}", step.name));
        }
        Ok(())
    }
}

struct Step {
    name: &'static str,
    /// Said before the step in the place of a line after it.
    last_word: Option<&'static str>,
    run: fn(&mut Run) -> anyhow::Result<Outcome>,
}

enum Outcome {
    Passed,
    NotRun(&'static str),
}

fn steps() -> Vec<Step> {
    let step = |name, run| Step { name, last_word: None, run };
    vec![
        step("fmt", |_| cargo(&["fmt", "--all", "--", "--check"])),
        step("tidy", |_| tidy::run().map(|_| Outcome::Passed)),
        step("contracts", |_| proto::check().map(|()| Outcome::Passed)),
        step("chart", |_| chart_check()),
        // Before the long steps: a server that cannot be had fails the run, and should do so early.
        step("infra", |run| {
            run.servers = infra::ensure(&run.home, None)?;
            Ok(Outcome::Passed)
        }),
        step("clippy", |_| {
            // Stories that plain `cargo test` leaves out are no part of `--all-targets`, which a glob beside it
            // does not widen.
            for targets in [&["--all-targets"][..], &["--test", "*"]] {
                let all = ["clippy", "--workspace", "--locked"];
                let lints = ["--", "-D", "warnings"];
                finish(workspace::cargo().args(all).args(targets).args(lints))?;
            }
            Ok(Outcome::Passed)
        }),
        step("build", |_| {
            finish(
                workspace::cargo()
                    .args(["build", "--workspace", "--locked"])
                    .args(compile::WITH_EXAMPLES),
            )
        }),
        step("chart run", |run| chart_run(&run.home)),
        step("chart install", |run| chart_install(&run.home)),
        step("api", |_| api::check().map(|()| Outcome::Passed)),
        step("doc", |_| doc()),
        step("deny", |_| deny()),
        step("doctest", |_| cargo(&["test", "--workspace", "--locked", "--doc"])),
        step("test", |_| {
            // All but documentation, whose tests ran in a step of their own.
            let all = ["--no-fail-fast", "--lib", "--bins", "--tests"];
            finish(workspace::cargo().args(["test", "--workspace", "--locked"]).args(all))
        }),
        // On the same real servers as the tests after it, which close the output.
        step("upgrade", |run| upgrade_run(&run.home)),
        Step {
            name: "test on real servers",
            last_word: Some("the last step, the runner's result closes the output"),
            run: |run| {
                // Every story once more, the adapters' contract suites and the outages. Unit tests
                // know of no servers.
                let stories = ["--locked", "--no-fail-fast", "--test", "*"].map(str::to_owned);
                finish(&mut on_real_servers(&run.home, &stories))
            },
        },
    ]
}

fn chart_check() -> anyhow::Result<Outcome> {
    if !chart::is_checkable() {
        return Ok(Outcome::NotRun(NO_HELM));
    }
    chart::check(false).map(|()| Outcome::Passed)
}

/// By the binaries that were built, on the servers of the run.
fn chart_run(home: &Home) -> anyhow::Result<Outcome> {
    if !chart::is_checkable() {
        return Ok(Outcome::NotRun(NO_HELM));
    }
    chart::run_whole(home).map(|()| Outcome::Passed)
}

/// On a control plane that is made here, where there is a Go to make it with.
fn chart_install(home: &Home) -> anyhow::Result<Outcome> {
    if !chart::is_checkable() {
        return Ok(Outcome::NotRun(NO_HELM));
    }
    if !chart::is_installable() {
        return Ok(Outcome::NotRun(NO_GO));
    }
    chart::install(home).map(|()| Outcome::Passed)
}

/// From the version before, where this clone has its history.
fn upgrade_run(home: &Home) -> anyhow::Result<Outcome> {
    if !upgrade::is_possible() {
        return Ok(Outcome::NotRun(NO_HISTORY));
    }
    upgrade::check(home).map(|()| Outcome::Passed)
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
        assert_eq!(last.name, "test on real servers");
        assert!(last.last_word.is_some());
        assert!(before.iter().all(|step| step.last_word.is_none()));
        let position = |name| before.iter().position(|step| step.name == name).unwrap();
        assert!(position("infra") < position("clippy"), "a missing server is told early");
        assert!(position("infra") < position("chart run"), "production runs on the servers");
        assert!(position("chart run") > position("build"));
        assert!(position("chart install") > position("chart run"), "what is refused says less");
        assert!(position("test") > position("build"));
        assert!(position("upgrade") > position("test"), "what is slow to explain comes late");
    }

    #[test]
    fn every_target_is_tested_unless_some_are_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        let args = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|arg| (*arg).to_owned()).collect();
            let command = on_real_servers(&home, &given);
            let args: Vec<_> = command.get_args().map(|arg| arg.to_owned()).collect();
            args.join(" ".as_ref()).into_string().unwrap()
        };
        assert_eq!(args(&[]), "test --workspace --lib --bins --test *");
        assert_eq!(args(&["--test", "real"]), "test --workspace --test real");
        let filtered = args(&["--", "--test-threads", "1"]);
        assert_eq!(filtered, "test --workspace --lib --bins --test * -- --test-threads 1");
    }
}
