//! A real process: its command line, its signals, its exit codes.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mainstay_testing::{Platform, eventually};

/// The gateway, for it starts with no other service.
const GATEWAY: &str = "gateway";

#[tokio::test]
async fn a_process_that_is_asked_to_end_drains_and_exits_with_0() {
    let mut platform = Platform::start_services(&[GATEWAY], &[]).await;
    assert_eq!(platform.rest().get("/nowhere").await.status, 404);
    platform.terminate(GATEWAY);
    assert_eq!(platform.exit_code(GATEWAY).await, Some(0));
    let log = platform.logs(GATEWAY);
    for line in log.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["service"], GATEWAY, "{line}");
    }
    for message in ["ready", "draining", "drained"] {
        assert!(log.contains(&format!("\"message\":\"{message}\"")), "no {message} in\n{log}");
    }
}

#[tokio::test]
async fn a_process_that_is_asked_twice_ends_at_once() {
    let slow = [("MAINSTAY_LIFECYCLE__SPREAD", "15s")];
    let mut platform = Platform::start_services(&[GATEWAY], &slow).await;
    platform.terminate(GATEWAY);
    eventually("the process drains", async || {
        (platform.admin_port(GATEWAY).get("/readyz").await.status == 503).then_some(())
    })
    .await;
    let asked_again = Instant::now();
    platform.terminate(GATEWAY);
    assert_eq!(platform.exit_code(GATEWAY).await, Some(130));
    assert!(asked_again.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_one_line_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = mainstay_testing::command(mainstay_testing::binary("mainstay-gateway"))
        .current_dir(&folder)
        .env("MAINSTAY_TLS__MODE", "plaintext")
        .env("MAINSTAY_LISTEN", &address)
        .env("MAINSTAY_ADMIN_LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let refusal = String::from_utf8(output.stderr).unwrap();
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    assert!(refusal.starts_with("gateway cannot start: "), "{refusal}");
    assert!(refusal.contains(&address) && refusal.contains("in use"), "{refusal}");
}

#[test]
fn a_file_cannot_leave_its_outbox_to_change_data_capture() {
    let folder = tempfile::tempdir().unwrap();
    let output = mainstay_testing::command(mainstay_testing::binary("identity-svc"))
        .current_dir(&folder)
        .env("MAINSTAY_TLS__MODE", "plaintext")
        .env("MAINSTAY_LISTEN", "127.0.0.1:0")
        .env("MAINSTAY_ADMIN_LISTEN", "127.0.0.1:0")
        .env("MAINSTAY_EVENTS__RELAY", "false")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let refusal = String::from_utf8(output.stderr).unwrap();
    assert!(refusal.contains("set events.relay = true"), "{refusal}");
}

#[test]
fn settings_can_be_checked_and_printed_without_starting() {
    let run = |argument: &str, listen: &str| {
        mainstay_testing::command(mainstay_testing::binary("mainstay-gateway"))
            .arg(argument)
            .env("MAINSTAY_TLS__MODE", "plaintext")
            .env("MAINSTAY_LISTEN", listen)
            .output()
            .unwrap()
    };
    assert_eq!(run("--check", "127.0.0.1:0").status.code(), Some(0));
    let printed = String::from_utf8(run("--print-settings", "127.0.0.1:9").stdout).unwrap();
    assert!(printed.contains("listen = \"127.0.0.1:9\""), "{printed}");
    let refused = run("--check", "nowhere");
    assert_eq!(refused.status.code(), Some(1));
    let refusal = String::from_utf8(refused.stderr).unwrap();
    assert!(refusal.contains("MAINSTAY_LISTEN"), "names where it came from: {refusal}");
}

#[tokio::test]
async fn a_process_is_asked_for_its_health_by_its_own_binary() {
    let platform = Platform::start_services(&[GATEWAY], &[]).await;
    let ask = |admin: String| {
        mainstay_testing::command(mainstay_testing::binary("mainstay-gateway"))
            .arg("healthcheck")
            .env("MAINSTAY_ADMIN_LISTEN", admin)
            .output()
            .unwrap()
    };
    let admin = platform.admin_address(GATEWAY);
    let answer = eventually("the process is healthy", async || {
        let asked = ask(format!("0.0.0.0:{}", admin.port()));
        (asked.status.code() == Some(0)).then_some(asked)
    })
    .await;
    assert!(String::from_utf8(answer.stdout).unwrap().contains("ready"));
    drop(platform);
    let nobody = ask(admin.to_string());
    assert_eq!(nobody.status.code(), Some(1));
    let refusal = String::from_utf8(nobody.stderr).unwrap();
    assert!(refusal.contains(&admin.to_string()), "{refusal}");
}

#[test]
fn migrations_are_applied_and_awaited_without_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let errand = |binary: &str, errand: &str| {
        let mut command = mainstay_testing::command(mainstay_testing::binary(binary));
        command
            .arg(errand)
            .current_dir(&folder)
            .env("MAINSTAY_TLS__MODE", "plaintext")
            .env("MAINSTAY_DATA_DIR", folder.path());
        command
    };
    let mut waiting =
        errand("identity-svc", "await-migrations").stdout(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(waiting.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = log.find(|line| line.contains("waiting for migrations"));
    assert!(told.is_some_and(|line| line.contains("kernel_")), "it says what is missing");

    for _ in 0..2 {
        let migrated = errand("identity-svc", "migrate").output().unwrap();
        let log = String::from_utf8_lossy(&migrated.stdout).into_owned();
        assert_eq!(migrated.status.code(), Some(0), "{log}");
    }
    assert_eq!(waiting.wait().unwrap().code(), Some(0));

    let none = errand("mainstay-gateway", "migrate").output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    let refusal = String::from_utf8(none.stderr).unwrap();
    assert!(refusal.contains("gateway has no database"), "{refusal}");
}
