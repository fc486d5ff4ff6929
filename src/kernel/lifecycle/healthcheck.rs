//! `healthcheck`: asks a process for its readiness, for those who can only run a program.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// How long the process may take to answer; its own checks have a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most that is read of an answer, in bytes: a few reasons.
const MAX_ANSWER: u64 = 64 * 1024;

/// What the process at this admin address says to `/readyz`; an error unless it may take traffic.
pub(super) fn ask(admin: SocketAddr) -> anyhow::Result<String> {
    let admin = reachable(admin);
    let answer = exchange(admin)
        .with_context(|| format!("the process at {admin} does not answer within {PATIENCE:?}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer that is no HTTP")?;
    let is_ready = head.split_whitespace().nth(1) == Some("200");
    ensure!(is_ready, "the process at {admin} may not take traffic: {body}");
    Ok(body.to_owned())
}

/// Who listens on every address is asked on loopback.
fn reachable(mut admin: SocketAddr) -> SocketAddr {
    match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => admin.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => admin.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    admin
}

fn exchange(admin: SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&admin, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    // HTTP/1.0 answers in one piece, and closes.
    connection.write_all(b"GET /readyz HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    connection.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}
