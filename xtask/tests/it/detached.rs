//! `up --detach` and what follows it.

use crate::harness::{Platform, eventually, is_alive, kill};

const SERVICES: [&str; 6] =
    ["gateway", "auth-svc", "identity-svc", "authz-svc", "audit-svc", "billing-svc"];

#[test]
fn up_prints_what_a_person_needs_and_down_leaves_nothing() {
    let platform = Platform::of_stand_ins();
    let said = platform.must_come_up();
    let edge = format!("http://127.0.0.1:{}", platform.port(8080));
    for wanted in
        [edge.as_str(), "admin@mainstay.local", "TOKEN=$(curl", "MiB in 6 processes", "admin.json"]
    {
        assert!(said.out.contains(wanted), "{wanted} is not in\n{}", said.out);
    }
    let admin = std::fs::read(platform.home().join("admin.json")).unwrap();
    let admin: serde_json::Value = serde_json::from_slice(&admin).unwrap();
    assert!(said.out.contains(admin["password"].as_str().unwrap()));
    assert_eq!(admin["email"], "admin@mainstay.local");

    let rows = platform.status();
    assert_eq!(
        rows.iter().map(|row| row["service"].as_str().unwrap()).collect::<Vec<_>>(),
        SERVICES
    );
    for row in &rows {
        assert_eq!(row["state"], "ready", "{row}");
        assert!(row["memory_bytes"].as_u64().unwrap() > 0, "{row}");
        assert_eq!(row["admin_port"].as_u64().unwrap(), row["port"].as_u64().unwrap() + 10_000);
    }
    let mut pids: Vec<i32> = SERVICES.iter().map(|service| platform.pid(service)).collect();
    pids.push(platform.supervisor_pid());

    let down = platform.run(&["down"]);
    assert!(down.success, "{}", down.err);
    assert!(down.out.contains("has stopped"), "{}", down.out);
    platform.assert_nothing_is_left(&pids);
    let again = platform.run(&["down"]);
    assert!(again.success && again.out.contains("not running"), "{}", again.out);
}

#[test]
fn the_gateway_starts_last_and_drains_first() {
    let platform = Platform::of_stand_ins();
    let said = platform.must_come_up();
    let at = |text: &str| said.err.find(text).unwrap_or_else(|| panic!("{text}: {}", said.err));
    for first in ["authz-svc", "audit-svc", "identity-svc", "billing-svc"] {
        assert!(at(&format!("{first} is ready")) < at("starting auth-svc"));
    }
    assert!(at("auth-svc is ready") < at("starting gateway"));

    // Its supervisor waits for the gateway before it turns to the others.
    let auth = platform.pid("auth-svc");
    let mut gateway = platform.pid("gateway");
    let mut down = platform.command(&["down"]).spawn().unwrap();
    eventually("the gateway ends", || (!is_alive(gateway)).then_some(()));
    gateway = auth;
    eventually("the others end", || (!is_alive(gateway)).then_some(()));
    assert!(down.wait().unwrap().success());
}

#[test]
fn a_service_that_is_killed_comes_back() {
    let platform = Platform::of_stand_ins();
    platform.must_come_up();
    let before = platform.pid("identity-svc");
    kill(before, "-KILL");
    let after = eventually("identity-svc comes back", || {
        let row = platform.row("identity-svc");
        (row["state"] == "ready" && row["restarts"] == 1).then(|| row["pid"].as_i64().unwrap())
    });
    assert_ne!(i64::from(before), after);
    let logs = platform.run(&["logs", "supervisor"]);
    assert!(logs.out.contains("identity-svc was killed by signal 9"), "{}", logs.out);
    assert_eq!(platform.row("gateway")["restarts"], 0);
}

#[test]
fn restart_drains_and_returns_when_ready() {
    let platform = Platform::of_stand_ins();
    platform.must_come_up();
    let (audit, gateway) = (platform.pid("audit-svc"), platform.pid("gateway"));
    let said = platform.run(&["restart", "audit-svc"]);
    assert!(said.success, "{}", said.err);
    assert!(said.out.contains("audit-svc was restarted and is ready"), "{}", said.out);
    assert_ne!(platform.pid("audit-svc"), audit);
    assert_eq!(platform.pid("gateway"), gateway, "the others were left alone");
    let log = platform.run(&["logs", "audit-svc"]).out;
    assert!(log.contains("audit-svc    | audit-svc drained"), "{log}");

    assert!(platform.run(&["restart"]).success);
    assert_ne!(platform.pid("gateway"), gateway);
    assert!(platform.status().iter().all(|row| row["state"] == "ready" && row["restarts"] == 0));
}

#[test]
fn a_second_up_says_so() {
    let platform = Platform::of_stand_ins();
    platform.must_come_up();
    for args in [&["--detach"][..], &[]] {
        let output = platform.up_command(args).output().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("is up already"), "{error}");
    }
    assert!(platform.status().iter().all(|row| row["state"] == "ready"));
    let reset = platform.run(&["reset"]);
    assert!(!reset.success && reset.err.contains("cargo xtask down first"), "{}", reset.err);
}

#[test]
fn state_survives_down_and_up_until_reset() {
    let platform = Platform::of_stand_ins();
    platform.must_come_up();
    let read = |name: &str| std::fs::read(platform.home().join(name)).unwrap();
    let before = (read("admin.json"), read("tls/ca.pem"));
    platform.run(&["down"]);
    platform.must_come_up();
    assert_eq!((read("admin.json"), read("tls/ca.pem")), before);
    platform.run(&["down"]);
    assert!(platform.run(&["reset"]).success);
    assert!(!platform.home().join("admin.json").exists());
    platform.must_come_up();
    assert_ne!(read("admin.json"), before.0);
}

#[test]
fn commands_without_a_platform_say_how_to_get_one() {
    let platform = Platform::of_stand_ins();
    let restart = platform.run(&["restart"]);
    assert!(!restart.success && restart.err.contains("mend: cargo xtask up"), "{}", restart.err);
    let logs = platform.run(&["logs"]);
    assert!(!logs.success && logs.err.contains("mend: cargo xtask up"), "{}", logs.err);
    let status = platform.run(&["status"]);
    assert!(status.success && status.out.contains("not running"), "{}", status.out);
}
