//! Chromium without a window.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names under which it is installed.
const NAMES: [&str; 2] = ["chromium", "chromium-browser"];

/// How long the page may work, in the browser's own time, which runs faster while nothing happens.
const BUDGET_MS: u32 = 5000;

/// How long the browser may take in all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The document that a page has become, after its scripts have run for a while.
pub(crate) fn dom(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (dom, errors) = (folder.path().join("dom.html"), folder.path().join("errors"));
    let mut browser = Command::new(program())
        // As root it runs without a sandbox only. It is shown nothing but the page of this story.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-extensions", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--virtual-time-budget={BUDGET_MS}"))
        .args(["--dump-dom", url])
        .stdin(Stdio::null())
        .stdout(File::create(&dom).unwrap())
        .stderr(File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = browser.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            browser.kill().unwrap();
            browser.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = std::fs::read_to_string(errors).unwrap_or_default();
    assert!(status.is_some_and(|status| status.success()), "chromium: {status:?}\n{said}");
    std::fs::read_to_string(dom).unwrap()
}

fn program() -> &'static str {
    let answers = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    match NAMES.into_iter().find(answers) {
        Some(name) => name,
        None => panic!("chromium is not installed\nmend: apt-get install chromium"),
    }
}
