//! As much of the Redis protocol (RESP 2) as asking for life and forgetting keys needs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many keys are looked at in one step.
const SCAN_COUNT: &str = "1000";

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A status, a string or a number, as text.
    Text(String),
    /// No value.
    Nil,
    /// Several.
    List(Vec<Self>),
}

impl Connection {
    /// Connects to a URL such as `redis://user:password@host:port/0`.
    pub(crate) fn open(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("redis://").context("a Redis address begins with redis://")?;
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (host, database) = place.split_once('/').unwrap_or((place, ""));
        let address = host
            .to_socket_addrs()
            .with_context(|| format!("{host} is no host:port"))?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self { stream: BufReader::new(stream) };
        match user.split_once(':') {
            Some(("", password)) => connection.call(&["AUTH", password])?,
            Some((name, password)) => connection.call(&["AUTH", name, password])?,
            None => Reply::Nil,
        };
        if !database.is_empty() {
            connection.call(&["SELECT", database])?;
        }
        Ok(connection)
    }

    /// Sends a command and waits for its reply; an error reply is an error.
    pub(crate) fn call(&mut self, command: &[&str]) -> anyhow::Result<Reply> {
        let mut text = format!("*{}\r\n", command.len());
        for word in command {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(text.as_bytes())?;
        self.reply()
    }

    /// Removes every key that begins with `prefix`; says how many.
    pub(crate) fn forget(&mut self, prefix: &str) -> anyhow::Result<usize> {
        let pattern = format!("{prefix}*");
        let mut cursor = "0".to_owned();
        let mut removed = 0;
        loop {
            let scan = ["SCAN", &cursor, "MATCH", &pattern, "COUNT", SCAN_COUNT];
            let (next, keys) = page(self.call(&scan)?)?;
            if !keys.is_empty() {
                let command: Vec<&str> =
                    std::iter::once("UNLINK").chain(keys.iter().map(String::as_str)).collect();
                self.call(&command)?;
                removed += keys.len();
            }
            if next == "0" {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    fn reply(&mut self) -> anyhow::Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("Redis does not answer")?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).context("Redis closed the connection")?;
        match kind {
            "+" | ":" => Ok(Reply::Text(rest.to_owned())),
            "-" => bail!("Redis refuses: {rest}"),
            "$" if rest == "-1" => Ok(Reply::Nil),
            "$" => {
                // The text and its line break.
                let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
            }
            "*" if rest == "-1" => Ok(Reply::Nil),
            "*" => (0..rest.parse::<usize>()?)
                .map(|_| self.reply())
                .collect::<Result<_, _>>()
                .map(Reply::List),
            _ => bail!("{line:?} is no answer of Redis"),
        }
    }
}

/// The next cursor and the keys of a SCAN.
fn page(reply: Reply) -> anyhow::Result<(String, Vec<String>)> {
    if let Reply::List(parts) = reply
        && let [Reply::Text(cursor), Reply::List(keys)] = parts.as_slice()
    {
        let text = |key: &Reply| match key {
            Reply::Text(key) => Some(key.clone()),
            Reply::Nil | Reply::List(_) => None,
        };
        return Ok((cursor.clone(), keys.iter().filter_map(text).collect()));
    }
    bail!("Redis answers SCAN with something else")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn it_logs_in_and_forgets_page_by_page() {
        let url = answering(
            "+OK\r\n*2\r\n$1\r\n7\r\n*2\r\n$3\r\na:1\r\n$3\r\na:2\r\n:2\r\n*2\r\n$1\r\n0\r\n*0\r\n",
        );
        assert_eq!(Connection::open(&url).unwrap().forget("a:").unwrap(), 2);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let url = answering("-WRONGPASS invalid username-password pair\r\n");
        let refused = Connection::open(&url).unwrap_err().to_string();
        assert!(refused.contains("WRONGPASS"), "{refused}");
    }

    fn answering(text: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            // Held open until the client goes.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        format!("redis://:secret@{address}")
    }
}
