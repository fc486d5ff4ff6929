//! A service's JSON log line, made readable for a person.

use serde_json::{Map, Value};

/// Fields that are not worth a person's look, or that stand elsewhere in the line.
const LEFT_OUT: [&str; 11] = [
    "time",
    "timestamp",
    "level",
    "message",
    "service",
    "target",
    "fields",
    "span",
    "spans",
    "trace_id",
    "span_id",
];

/// A line for a person.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Readable {
    /// Time, level, message, fields.
    pub(crate) text: String,
    /// Somebody should look at it.
    pub(crate) severe: bool,
    /// Of interest to whoever debugs.
    pub(crate) minor: bool,
}

/// The readable form; `None` if the line is no JSON log record.
pub(crate) fn readable(line: &str) -> Option<Readable> {
    let record: Map<String, Value> = serde_json::from_str(line).ok()?;
    let level = record.get("level")?.as_str()?.to_uppercase();
    // Records have their fields at the top or in an object of their own.
    let nested = record.get("fields").and_then(Value::as_object);
    let message = nested
        .and_then(|fields| fields.get("message"))
        .or_else(|| record.get("message"))
        .map(plain)
        .unwrap_or_default();
    let mut text = format!("{} {level:<5} {message}", time_of_day(line));
    for (name, value) in record.iter().chain(nested.into_iter().flatten()) {
        if !LEFT_OUT.contains(&name.as_str()) {
            text.push_str(&format!(" {name}={}", plain(value)));
        }
    }
    let text = text.trim().to_owned();
    Some(Readable {
        text,
        severe: level == "ERROR",
        minor: matches!(level.as_str(), "DEBUG" | "TRACE"),
    })
}

/// A record of xtask's own, in the form that services have.
pub(crate) fn record(service: &str, message: &str) -> String {
    serde_json::json!({ "time": now(), "level": "info", "message": message, "service": service })
        .to_string()
}

/// When a line was written, to sort by: RFC 3339 in UTC sorts as text. `None` if it does not say.
pub(crate) fn timestamp(line: &str) -> Option<String> {
    let record: Map<String, Value> = serde_json::from_str(line).ok()?;
    record.get("time").or_else(|| record.get("timestamp"))?.as_str().map(str::to_owned)
}

/// The time as log lines state it.
pub(crate) fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// `03:04:05.678` of `2026-01-02T03:04:05.678901Z`.
fn time_of_day(line: &str) -> String {
    let timestamp = timestamp(line).unwrap_or_default();
    let time = timestamp.split_once('T').map_or("", |(_, time)| time.trim_end_matches('Z'));
    time.chars().take("03:04:05.678".len()).collect()
}

/// The value of a field, a text without its quotes.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_record_read_the_same() {
        let flat = r#"{"timestamp":"2026-01-02T03:04:05.678901Z","level":"INFO","message":"serving","target":"a","port":8081}"#;
        let nested = r#"{"time":"2026-01-02T03:04:05.678901Z","level":"info","fields":{"message":"serving","port":8081},"target":"a"}"#;
        let expected = Readable {
            text: "03:04:05.678 INFO  serving port=8081".into(),
            severe: false,
            minor: false,
        };
        assert_eq!(readable(flat).unwrap(), expected);
        assert_eq!(readable(nested).unwrap(), expected);
    }

    #[test]
    fn a_record_of_our_own_reads_like_a_services() {
        let record = record("supervisor", "draining");
        assert!(timestamp(&record).unwrap().ends_with('Z'), "{record}");
        let readable = readable(&record).unwrap();
        assert!(readable.text.ends_with(" INFO  draining"), "{}", readable.text);
    }

    #[test]
    fn what_is_no_record_stays_as_it_is() {
        for line in ["", "thread 'main' panicked", "[1]", "{\"a\":1}"] {
            assert_eq!(readable(line), None, "{line}");
        }
    }
}
