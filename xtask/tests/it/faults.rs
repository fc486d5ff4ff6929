//! What goes wrong is named with its cause and its mend.

use std::net::TcpListener;

use crate::harness::{Platform, eventually, is_alive, kill};

#[test]
fn a_port_in_use_is_named_with_its_process_before_anything_starts() {
    let platform = Platform::of_stand_ins();
    let port = platform.port(8081);
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let said = platform.up_detached();
    assert!(!said.success);
    for wanted in [
        format!("port {port} of auth-svc is in use by"),
        format!("pid {}", std::process::id()),
        "--port-offset".to_owned(),
    ] {
        assert!(said.err.contains(&wanted), "{wanted} is not in\n{}", said.err);
    }
    assert!(!said.err.contains("starting"), "{}", said.err);
}

#[test]
fn a_service_that_dies_at_start_is_named_with_its_last_lines() {
    let mut platform = Platform::of_stand_ins();
    platform.behave("auth-svc", "dies");
    let said = platform.up_detached();
    assert!(!said.success);
    for wanted in
        ["auth-svc exited with status 1 while starting", "the database is a teapot", "mend:"]
    {
        assert!(said.err.contains(wanted), "{wanted} is not in\n{}", said.err);
    }
    platform.assert_nothing_is_left(&[]);
}

#[test]
fn a_missing_binary_is_named() {
    let platform = Platform::of_stand_ins();
    std::fs::remove_file(platform.home().parent().unwrap().join("bin/billing-svc")).unwrap();
    let said = platform.up_detached();
    assert!(!said.success && said.err.contains("no billing-svc in"), "{}", said.err);
}

#[test]
fn an_interrupted_start_leaves_nothing() {
    let mut platform = Platform::of_stand_ins();
    platform.behave("auth-svc", "never-ready");
    let mut up = platform.up_command(&["--detach"]).spawn().unwrap();
    eventually("auth-svc starts", || {
        platform
            .status()
            .iter()
            .find(|row| row["state"] == "starting" && row["service"] == "auth-svc")
            .map(drop)
    });
    let supervisor = platform.supervisor_pid();
    let pids: Vec<i32> = ["authz-svc", "auth-svc"].iter().map(|name| platform.pid(name)).collect();
    // As Ctrl-C would.
    kill(i32::try_from(up.id()).unwrap(), "-INT");
    assert!(!up.wait().unwrap().success());
    eventually("the supervisor ends", || (!is_alive(supervisor)).then_some(()));
    platform.assert_nothing_is_left(&pids);
}

#[test]
fn a_supervisor_that_is_killed_takes_the_services_along_and_the_next_up_mends() {
    let platform = Platform::of_stand_ins();
    platform.must_come_up();
    let pids: Vec<i32> = ["gateway", "auth-svc"].iter().map(|name| platform.pid(name)).collect();
    kill(platform.supervisor_pid(), "-KILL");
    for pid in pids {
        eventually("the services die", || (!is_alive(pid)).then_some(()));
    }
    // Services go with the thread that started them; the lock goes with the supervisor's last.
    eventually("the supervisor is known to be killed", || {
        platform.run(&["status"]).out.contains("its supervisor was killed").then_some(())
    });
    let said = platform.must_come_up();
    assert!(said.err.contains("mended: the supervisor before"), "{}", said.err);
    assert!(platform.status().iter().all(|row| row["state"] == "ready"));
}

#[test]
fn a_half_written_state_folder_is_mended_with_a_word() {
    let platform = Platform::of_stand_ins();
    let home = platform.home();
    std::fs::create_dir_all(home.join("run")).unwrap();
    std::fs::write(home.join("run/state.json"), "{\"version\":1,\"superv").unwrap();
    std::fs::create_dir_all(home.join("tls")).unwrap();
    std::fs::write(home.join("tls/gateway.pem"), "-----BEGIN CERT").unwrap();
    std::fs::write(home.join("admin.json"), "").unwrap();
    let said = platform.must_come_up();
    for wanted in ["state.json was half-written", "administrator's password was damaged"] {
        assert!(said.err.contains(wanted), "{wanted} is not in\n{}", said.err);
    }
}

#[test]
fn a_service_that_does_not_drain_is_killed_in_the_end() {
    let mut platform = Platform::of_stand_ins();
    platform.behave("audit-svc", "stubborn");
    platform.must_come_up();
    let pid = platform.pid("audit-svc");
    let supervisor = platform.supervisor_pid();
    // The second signal ends the patience; without it the drain would take 25 s.
    kill(supervisor, "-TERM");
    eventually("audit-svc is drained", || {
        (platform.row("audit-svc")["state"] == "draining").then_some(())
    });
    kill(supervisor, "-TERM");
    eventually("the supervisor ends", || (!is_alive(supervisor)).then_some(()));
    platform.assert_nothing_is_left(&[pid]);
}
