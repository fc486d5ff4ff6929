//! What `up` prints when everything is ready.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};

use crate::credentials::Credentials;
use crate::home::Home;
use crate::mesh::{SERVICES, gateway};
use crate::process;
use crate::state::{State, Stored};
use crate::terminal::bold;

/// Takes the access token out of a login's answer; needs nothing but sed.
const TOKEN_OF_ANSWER: &str = r#"sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p'"#;

/// Addresses, the administrator, three lines to try, memory.
pub(crate) fn text(home: &Home) -> anyhow::Result<String> {
    let Stored::Present(state) = State::load(home) else {
        bail!("the supervisor's state cannot be read");
    };
    let credentials = Credentials::of(home);
    let admin = credentials.admin()?;
    let edge = format!("http://{}", gateway().address(state.port_offset));
    let mut text = String::new();
    writeln!(text, "{}\n", bold("Mainstay is up."))?;
    addresses(&mut text, &state, &edge).context("formatting")?;
    if let Some(infra) = &state.real {
        writeln!(
            text,
            "  stands on      PostgreSQL, Redis, Kafka and Consul of {}",
            infra.display()
        )?;
    }
    if let Some(page) = state.page() {
        writeln!(text, "  observe        {page}   (a call: {page}/?request=X-REQUEST-ID)")?;
    }
    writeln!(text, "\n  administrator  {}", admin.email)?;
    writeln!(text, "  password       {}", admin.password)?;
    writeln!(text, "  kept in        {}", credentials.admin_file().display())?;
    writeln!(
        text,
        "  memory         {} in {} processes\n",
        mebibytes(memory(&state)),
        SERVICES.len()
    )?;
    writeln!(text, "{}\n", bold("Try"))?;
    for line in lines_to_try(&edge, &shell_word(&credentials.admin_file().to_string_lossy())) {
        writeln!(text, "  {line}")?;
    }
    writeln!(text, "\nOperate: cargo run -q --bin mainstayctl -- services")?;
    write!(text, "Logs: cargo xtask logs; stop: cargo xtask down")?;
    Ok(text)
}

/// `12.3 MiB`.
pub(crate) fn mebibytes(bytes: u64) -> String {
    // Tenths in whole numbers: exact for any size.
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn addresses(text: &mut String, state: &State, edge: &str) -> std::fmt::Result {
    writeln!(text, "  REST           {edge}   (API: {edge}/docs)")?;
    for service in SERVICES.iter().rev() {
        let scheme = if service == gateway() { "http " } else { "grpcs" };
        writeln!(
            text,
            "  {:<14} {scheme} {}   admin http://{}",
            service.name,
            service.address(state.port_offset),
            service.admin_address(state.port_offset)
        )?;
    }
    Ok(())
}

fn lines_to_try(edge: &str, admin_file: &str) -> [String; 3] {
    [
        format!(
            "TOKEN=$(curl -s {edge}/api/v1/auth/login -H 'content-type: application/json' -d @{admin_file} | {TOKEN_OF_ANSWER})"
        ),
        format!("curl -s {edge}/api/v1/users/me -H \"authorization: Bearer $TOKEN\""),
        format!(
            "curl -s '{edge}/api/v1/audit/events?page_size=3' -H \"authorization: Bearer $TOKEN\""
        ),
    ]
}

fn memory(state: &State) -> u64 {
    state
        .services
        .iter()
        .filter_map(|service| service.process)
        .map(|process| process::resident_bytes(process.pid))
        .sum()
}

/// A path as one word of a shell, quoted only where it must be.
fn shell_word(path: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+@".contains(letter);
    if path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn memory_has_one_decimal() {
        assert_eq!(mebibytes(0), "0.0 MiB");
        assert_eq!(mebibytes(12 * 1024 * 1024 + 400 * 1024), "12.3 MiB");
    }

    #[test]
    fn the_shell_finds_the_token_in_an_answer() {
        for answer in [
            r#"{"data":{"access_token":"a.b-c_d","refresh_token":"r"},"meta":{}}"#,
            r#"{"data": {"refresh_token": "r", "access_token": "a.b-c_d"}}"#,
        ] {
            let script = format!("printf '%s' '{answer}' | {TOKEN_OF_ANSWER}");
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "a.b-c_d");
        }
    }

    #[test]
    fn a_path_with_a_space_stays_one_word() {
        assert_eq!(shell_word("/home/me/.mainstay/admin.json"), "/home/me/.mainstay/admin.json");
        assert_eq!(shell_word("/my code/o'k"), r"'/my code/o'\''k'");
    }
}
