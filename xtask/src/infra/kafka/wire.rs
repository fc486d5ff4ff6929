//! As much of Kafka's protocol as asking for life and forgetting topics needs: three requests in
//! early versions, which every broker since 2.0 understands (<https://kafka.apache.org/protocol>).

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the broker may take to delete topics.
const DELETE_TIMEOUT_MS: i32 = 10_000;

/// An answer longer than this is not one.
const MAX_ANSWER_BYTES: i32 = 64 * 1024 * 1024;

const METADATA: (i16, i16) = (3, 1);
const API_VERSIONS: (i16, i16) = (18, 0);
const DELETE_TOPICS: (i16, i16) = (20, 1);

/// A connection to a broker.
#[derive(Debug)]
pub(crate) struct Broker {
    stream: TcpStream,
}

impl Broker {
    /// Connects to the first of `host:port,host:port` that takes a connection.
    pub(crate) fn open(brokers: &str) -> anyhow::Result<Self> {
        let mut reason = anyhow::anyhow!("no broker is stated");
        for broker in brokers.split(',').map(str::trim) {
            match connect(broker) {
                Ok(stream) => return Ok(Self { stream }),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    /// Whether the broker serves: before it does, it takes no requests.
    pub(crate) fn is_ready(&mut self) -> anyhow::Result<()> {
        let error = Reader(&self.ask(API_VERSIONS, &[])?).short()?;
        // A broker that is too new for this version says so, and is ready.
        ensure!([0, UNSUPPORTED_VERSION].contains(&error), "Kafka answers error {error}");
        Ok(())
    }

    /// The names of all topics that are not Kafka's own.
    pub(crate) fn topics(&mut self) -> anyhow::Result<Vec<String>> {
        let answer = self.ask(METADATA, &(-1_i32).to_be_bytes())?;
        parse_topics(&answer).context("Kafka's list of topics is not understood")
    }

    /// Deletes topics.
    pub(crate) fn delete(&mut self, topics: &[String]) -> anyhow::Result<()> {
        let mut body = i32::try_from(topics.len())?.to_be_bytes().to_vec();
        for topic in topics {
            body.extend(i16::try_from(topic.len())?.to_be_bytes());
            body.extend(topic.as_bytes());
        }
        body.extend(DELETE_TIMEOUT_MS.to_be_bytes());
        let answer = self.ask(DELETE_TOPICS, &body)?;
        let mut reader = Reader(&answer);
        let _throttled = reader.int()?;
        for _ in 0..reader.int()? {
            let topic = reader.text()?;
            let error = reader.short()?;
            ensure!(
                error == 0 || error == UNKNOWN_TOPIC,
                "Kafka does not delete topic {topic}: error {error}"
            );
        }
        Ok(())
    }

    fn ask(&mut self, (key, version): (i16, i16), body: &[u8]) -> anyhow::Result<Vec<u8>> {
        // Key, version, a correlation id of 0, no client id.
        let mut request = [key.to_be_bytes(), version.to_be_bytes()].concat();
        request.extend([0, 0, 0, 0, 0xff, 0xff]);
        request.extend(body);
        let mut frame = i32::try_from(request.len())?.to_be_bytes().to_vec();
        frame.extend(request);
        self.stream.write_all(&frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("Kafka does not answer")?;
        let length = i32::from_be_bytes(length);
        ensure!((4..MAX_ANSWER_BYTES).contains(&length), "that is no answer of Kafka");
        let mut answer = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut answer)?;
        Ok(answer.split_off(4))
    }
}

/// Error codes.
const UNKNOWN_TOPIC: i16 = 3;
const UNSUPPORTED_VERSION: i16 = 35;

fn connect(broker: &str) -> anyhow::Result<TcpStream> {
    let address =
        broker.to_socket_addrs().with_context(|| format!("{broker} is no host:port"))?.next();
    let address = address.with_context(|| format!("{broker} has no address"))?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn parse_topics(answer: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut reader = Reader(answer);
    for _ in 0..reader.int()? {
        let (_node, _host, _port, _rack) =
            (reader.int()?, reader.text()?, reader.int()?, reader.text()?);
    }
    let _controller = reader.int()?;
    let mut topics = Vec::new();
    for _ in 0..reader.int()? {
        let _error = reader.short()?;
        let name = reader.text()?;
        let internal = reader.take(1)? != [0];
        for _ in 0..reader.int()? {
            reader.take(2 + 4 + 4)?;
            reader.skip_ints()?;
            reader.skip_ints()?;
        }
        if !internal {
            topics.push(name);
        }
    }
    Ok(topics)
}

/// Reads values off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("the answer ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn short(&mut self) -> anyhow::Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn int(&mut self) -> anyhow::Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// A text; one that is null is empty.
    fn text(&mut self) -> anyhow::Result<String> {
        let length = usize::try_from(self.short()?).unwrap_or_default();
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn skip_ints(&mut self) -> anyhow::Result<()> {
        let count = usize::try_from(self.int()?).unwrap_or_default();
        self.take(count * 4).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_kafkas_own_are_left_out() {
        let text = |text: &str| {
            let length = i16::try_from(text.len()).unwrap();
            [length.to_be_bytes().to_vec(), text.as_bytes().to_vec()].concat()
        };
        let int = |number: i32| number.to_be_bytes().to_vec();
        let topic = |name: &str, internal: u8| {
            let partition = [&[0, 0][..], &[0; 8], &int(1), &int(1), &int(1), &int(1)].concat();
            [vec![0, 0], text(name), vec![internal], int(1), partition].concat()
        };
        let broker = [int(1), text("localhost"), int(9092), vec![0xff, 0xff]].concat();
        let answer = [
            int(1),
            broker,
            int(1),
            int(2),
            topic("__consumer_offsets", 1),
            topic("mainstay.identity.users", 0),
        ]
        .concat();
        assert_eq!(parse_topics(&answer).unwrap(), ["mainstay.identity.users"]);
        assert!(parse_topics(&answer[..answer.len() - 1]).is_err());
    }
}
