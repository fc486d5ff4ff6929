//! Times as contracts state them.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// A time as `google.protobuf.Timestamp`, to the nanosecond.
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos().cast_signed() }
}

/// A time in Unix microseconds, as the kernel's tables keep it; `None` outside the years that it can tell.
pub(crate) fn timestamp_of(micros: i64) -> Option<Timestamp> {
    DateTime::from_timestamp_micros(micros).map(timestamp)
}
