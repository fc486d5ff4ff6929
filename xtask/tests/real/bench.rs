//! `cargo xtask bench` on the servers of the run, as small as it can be: that it measures, not what.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The variable that tells where the servers of the run are.
const INFRA_VARIABLE: &str = "MAINSTAY_TEST_INFRA";

#[test]
fn every_figure_of_events_is_there_and_nothing_is_left_on_the_servers() {
    let figures = measure(&["--events=300", "--backlog=1000", "--rate=50", "--seconds=1"]);
    assert!(number(&figures, "/sample/payload_bytes") > 50.0, "{figures}");
    let phases =
        [("produced", 300.0), ("relayed", 300.0), ("of_few", 10.0), ("of_backlog", 1000.0)];
    for (phase, events) in phases {
        let figure = |name: &str| number(&figures, &format!("/{phase}/{name}"));
        assert_eq!(figure("events"), events, "{figures}");
        assert!(figure("seconds") > 0.0 && figure("cpu_seconds") >= 0.0, "{phase}: {figures}");
        if phase != "produced" {
            assert!(figure("idle_bytes") > 0.0, "{phase}: {figures}");
            assert!(figure("peak_bytes") >= figure("idle_bytes"), "{phase}: {figures}");
        }
    }
    let latency = |name: &str| number(&figures, &format!("/latency/{name}"));
    assert_eq!(latency("events"), 50.0, "{figures}");
    assert!(latency("rate") > 0.0 && latency("commit_p99_ms") > 0.0, "{figures}");
    assert!(latency("p50_ms") <= latency("p99_ms"), "{figures}");
    assert!(latency("p99_ms") <= latency("max_ms"), "{figures}");
}

/// Runs the program that lies beside xtask.
fn measure(sizes: &[&str]) -> Value {
    let infra = std::env::var_os(INFRA_VARIABLE);
    let infra = infra.expect("cargo xtask test --real tells where the servers are");
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let output = Command::new(xtask)
        .args(["bench", "events", "--json", "--no-build"])
        .arg("--bin-dir")
        .arg(xtask.parent().unwrap())
        .arg("--infra")
        .arg(infra)
        .args(sizes)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("is left on the servers"), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(told.lines().last().unwrap()).unwrap()
}

fn number(figures: &Value, pointer: &str) -> f64 {
    let value = figures.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no number at {pointer} of {figures}"))
}
