//! The load: keep-alive connections of HTTP/1.1, each with one request after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::pace::Pace;

/// The longest head of a reply.
const MOST_HEAD: usize = 16 * 1024;

/// A request as it is sent, the whole of it.
#[derive(Clone, Debug)]
pub(super) struct Shot(Vec<u8>);

/// What a load achieved.
#[derive(Debug, Default)]
pub(super) struct Score {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    /// Of each request, sorted.
    latencies: Vec<Duration>,
}

impl Shot {
    pub(super) fn new(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: bench\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        Self(bytes)
    }
}

impl Score {
    pub(super) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// The latency that a part of all requests did not exceed, in milliseconds.
    pub(super) fn percentile_ms(&self, part: f64) -> f64 {
        let index = (self.latencies.len() as f64 * part) as usize;
        let latency = self.latencies.get(index.min(self.latencies.len().saturating_sub(1)));
        latency.copied().unwrap_or_default().as_secs_f64() * 1000.0
    }
}

/// One request, and its status and body.
pub(super) async fn once(address: SocketAddr, shot: &Shot) -> anyhow::Result<(u16, Vec<u8>)> {
    Line::open(address).await?.exchange(shot).await
}

/// Fires from so many connections for a time. With a rate, in all so many a second, and latencies
/// count from when a request was due; without one, each connection as fast as it is answered.
pub(super) async fn fire(
    address: SocketAddr,
    shot: &Shot,
    connections: u32,
    time: Duration,
    rate: Option<f64>,
) -> anyhow::Result<Score> {
    let begun = Instant::now();
    let pace = rate.map(|rate| Pace::begin(connections, rate, time)).transpose()?;
    let turns = (0..connections).map(|number| match &pace {
        Some(pace) => Turns::By(pace.clone(), number),
        None => Turns::Until(begun + time),
    });
    let lines: Vec<_> =
        turns.map(|turns| tokio::spawn(repeat(address, shot.clone(), turns))).collect();
    let mut score = Score::default();
    for line in lines {
        score.latencies.extend(line.await??);
    }
    score.seconds = begun.elapsed().as_secs_f64();
    score.requests = score.latencies.len() as u64;
    score.latencies.sort_unstable();
    Ok(score)
}

/// When a connection sends its next request.
enum Turns {
    /// At once, until then.
    Until(Instant),
    /// When it is this connection's turn.
    By(Pace, u32),
}

impl Turns {
    /// Waits for it, and says since when the request's latency counts.
    async fn next(&self, sent: u32) -> anyhow::Result<Option<Instant>> {
        match self {
            Self::Until(until) => Ok(Some(Instant::now()).filter(|now| now < until)),
            Self::By(pace, connection) => pace.next(*connection, sent).await,
        }
    }
}

async fn repeat(address: SocketAddr, shot: Shot, turns: Turns) -> anyhow::Result<Vec<Duration>> {
    let (mut line, mut latencies) = (Line::open(address).await?, Vec::new());
    for sent in 0.. {
        let Some(since) = turns.next(sent).await? else { break };
        let (status, _) = line.exchange(&shot).await?;
        ensure!(status == 200, "a reply had the status {status} in the midst of the load");
        latencies.push(since.elapsed());
    }
    Ok(latencies)
}

/// A connection.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("it does not answer")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    async fn exchange(&mut self, shot: &Shot) -> anyhow::Result<(u16, Vec<u8>)> {
        self.stream.write_all(&shot.0).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(self.buffer.len() < MOST_HEAD, "a head without end");
            self.more().await?;
        };
        let (status, length) = read_head(self.buffer.get(..head).unwrap_or_default())?;
        match length {
            Length::Known(length) => {
                while self.buffer.len() < head + length {
                    self.more().await?;
                }
                Ok((status, self.buffer.get(head..head + length).unwrap_or_default().to_vec()))
            }
            Length::Chunked => Ok((status, self.chunks(head).await?)),
        }
    }

    async fn chunks(&mut self, mut at: usize) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(self.buffer.get(at..).unwrap_or_default(), b"\r\n") {
                    Some(end) => break at + end,
                    None => self.more().await?,
                }
            };
            let size = self.buffer.get(at..end).unwrap_or_default();
            let size = usize::from_str_radix(std::str::from_utf8(size)?.trim(), 16)?;
            at = end + 2;
            while self.buffer.len() < at + size + 2 {
                self.more().await?;
            }
            body.extend_from_slice(self.buffer.get(at..at + size).unwrap_or_default());
            at += size + 2;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => bail!("a connection was closed within a reply"),
            _ => Ok(()),
        }
    }
}

enum Length {
    Known(usize),
    Chunked,
}

fn read_head(head: &[u8]) -> anyhow::Result<(u16, Length)> {
    let text = std::str::from_utf8(head)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    let mut length = Length::Known(0);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = Length::Known(value.trim().parse()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            length = Length::Chunked;
        }
    }
    Ok((status.parse()?, length))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::super::backend::{Backend, framed};
    use super::super::cases::Case;
    use super::*;

    #[tokio::test]
    async fn the_load_reads_what_the_backend_answers() {
        let backend = Backend::start().await.unwrap();
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        for case in Case::ALL {
            let body = framed(&case.request());
            let shot = Shot::new("POST", case.grpc_path(), &headers, &body);
            let (status, body) = once(backend.address, &shot).await.unwrap();
            let expected: Vec<u8> =
                case.replies().iter().flat_map(|message| framed(message)).collect();
            assert_eq!((status, body == expected), (200, true), "{case:?}");
            let time = Duration::from_millis(50);
            let score = fire(backend.address, &shot, 2, time, Some(100.0)).await.unwrap();
            assert!(score.requests > 0 && score.percentile_ms(0.5) > 0.0);
        }
        assert_eq!(backend.wrong(), 0);
        let shot = Shot::new("POST", Case::Get.grpc_path(), &headers, &framed(b"\xff"));
        once(backend.address, &shot).await.unwrap();
        assert_eq!(backend.wrong(), 1);
    }
}
