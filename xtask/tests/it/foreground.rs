//! `up` at a terminal.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::harness::{Platform, is_alive, kill};

#[test]
fn lines_are_merged_with_their_service_and_ctrl_c_stops_everything() {
    let platform = Platform::of_stand_ins();
    let mut up = platform.up_command(&[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
    let before: Vec<String> = lines.by_ref().take_while(|line| !line.contains("Logs:")).collect();
    let text = before.join("\n");
    for wanted in ["gateway      | ", "identity-svc | ", "Mainstay is up.", "TOKEN=$(curl"] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    let pids: Vec<i32> = ["gateway", "billing-svc"].iter().map(|name| platform.pid(name)).collect();
    assert!(pids.iter().all(|pid| is_alive(*pid)));

    kill(i32::try_from(up.id()).unwrap(), "-INT");
    let after: Vec<String> = lines.collect();
    assert!(up.wait().unwrap().success());
    let text = after.join("\n");
    // The stand-in of the gateway drained before any other did.
    let at = |text_of: &str| text.find(text_of).unwrap_or_else(|| panic!("{text_of}: {text}"));
    assert!(at("mainstay-gateway drained") < at("auth-svc drained"), "{text}");
    assert!(at("everything has stopped") < at("Mainstay has stopped."), "{text}");
    platform.assert_nothing_is_left(&pids);
}
