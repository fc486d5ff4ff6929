//! Whether a process takes traffic, by its own word.

use std::net::SocketAddr;

use crate::http::Request;

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
    match Request::get("/readyz").send(admin) {
        Ok(answer) if answer.status == 200 => Readiness::Ready,
        Ok(answer) => Readiness::NotReady(format!("{} {}", answer.status, answer.body.trim())),
        Err(_) => Readiness::Silent,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
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
