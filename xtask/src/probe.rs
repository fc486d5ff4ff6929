//! One HTTP GET, as small as it can be: what readiness needs and no client library.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer slower than this counts as none. Readiness is asked on loopback.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The most of an answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// What a process said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// 200.
    Ready,
    /// Any other answer: what its body says.
    NotReady(String),
    /// No answer.
    Silent,
}

/// Asks `/readyz`.
pub(crate) fn readiness(admin: SocketAddr) -> Readiness {
    match get(admin, "/readyz") {
        Ok((200, _)) => Readiness::Ready,
        Ok((status, body)) => Readiness::NotReady(format!("{status} {}", body.trim())),
        Err(_) => Readiness::Silent,
    }
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // One write, one packet: nothing of the request is left unread when the answer comes.
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_read_as_ready_or_why_not() {
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\nready", Readiness::Ready),
            ("HTTP/1.0 200 OK\r\n\r\n", Readiness::Ready),
            (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\n\r\ndatabase",
                Readiness::NotReady("503 database".into()),
            ),
            ("SSH-2.0-OpenSSH\r\n\r\n", Readiness::Silent),
        ];
        for (answer, expected) in cases {
            assert_eq!(readiness(answering_once(answer)), expected, "{answer}");
        }
    }

    #[test]
    fn nobody_there_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(readiness(address), Readiness::Silent);
    }

    fn answering_once(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }
}
