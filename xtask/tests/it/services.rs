//! The services themselves, as `cargo build` left them.

use std::process::Command;

use crate::harness::{Platform, eventually, kill};

#[test]
fn the_platform_comes_up_its_three_lines_work_and_it_comes_back_with_its_data() {
    let platform = Platform::of_services();
    let said = platform.must_come_up();
    assert!(platform.status().iter().all(|row| row["state"] == "ready"), "{}", said.out);
    let answers = paste(&said.out);
    assert!(answers.contains("admin@mainstay.local"), "{answers}");

    kill(platform.pid("identity-svc"), "-KILL");
    eventually("identity-svc comes back", || {
        (platform.row("identity-svc")["state"] == "ready").then_some(())
    });
    let restart = platform.run(&["restart", "audit-svc", "--no-build"]);
    assert!(restart.success, "{}", restart.err);

    let pids: Vec<i32> = ["gateway", "auth-svc"].iter().map(|name| platform.pid(name)).collect();
    assert!(platform.run(&["down"]).success);
    platform.assert_nothing_is_left(&pids);
    let said = platform.must_come_up();
    let answers = paste(&said.out);
    assert!(answers.contains("admin@mainstay.local"), "{answers}");
}

/// Runs the three lines to try exactly as they are printed, and returns what they answer.
fn paste(summary: &str) -> String {
    let lines: Vec<&str> = summary
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("TOKEN=") || line.starts_with("curl "))
        .collect();
    assert_eq!(lines.len(), 3, "{summary}");
    let output = Command::new("sh").args(["-c", &lines.join("\n")]).output().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    assert!(!answers.contains("\"error\""), "{answers}");
    answers
}
