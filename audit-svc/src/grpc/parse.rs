//! Messages of the contract become types that cannot be wrong.

use chrono::{DateTime, Utc};
use mainstay::contract::audit::proto::ListEventsRequest;
use mainstay::kernel::call::User;
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::page::PageRequest;
use prost_types::Timestamp;

use crate::app::RecordQuery;
use crate::domain::RecordFilter;

/// Which page of which records.
pub fn record_query(page: &PageRequest, request: ListEventsRequest) -> Result<RecordQuery> {
    let start_time = time("start_time", request.start_time)?;
    let end_time = time("end_time", request.end_time)?;
    if start_time.zip(end_time).is_some_and(|(start, end)| start > end) {
        return Err(Error::invalid("start_time", "must not be after end_time"));
    }
    Ok(RecordQuery {
        filter: RecordFilter {
            actor: stated(request.actor),
            action: stated(request.action),
            resource: stated(request.resource),
            start_time,
            end_time,
        },
        before: position(page)?,
        limit: page.rows_to_read(),
        include_total: request.include_total,
    })
}

/// Which page of what the user did.
pub fn activity_query(page: &PageRequest, user: &User) -> Result<RecordQuery> {
    let actor = Some(format!("user:{}", user.id));
    Ok(RecordQuery {
        filter: RecordFilter { actor, ..RecordFilter::default() },
        before: position(page)?,
        limit: page.rows_to_read(),
        include_total: false,
    })
}

fn stated(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Records hold microseconds: a finer bound is rounded up, because `time >= bound` and
/// `time < bound` then say the same of every record.
fn time(field: &str, time: Option<Timestamp>) -> Result<Option<DateTime<Utc>>> {
    let Some(time) = time else { return Ok(None) };
    let nanos = u32::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let micros = nanos.and_then(|nanos| {
        let micros = i64::from(nanos.div_ceil(1000));
        time.seconds.checked_mul(1_000_000)?.checked_add(micros)
    });
    let read = micros.and_then(DateTime::from_timestamp_micros);
    read.map(Some).ok_or_else(|| Error::invalid(field, "is not a time"))
}

/// The place after which a page begins.
fn position(page: &PageRequest) -> Result<Option<i64>> {
    page.after.as_ref().map(|token| token.column(0)).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use super::*;

    fn between(start: (i64, i32), end: (i64, i32)) -> Result<RecordQuery> {
        let time = |(seconds, nanos)| Some(Timestamp { seconds, nanos });
        let request = ListEventsRequest {
            start_time: time(start),
            end_time: time(end),
            ..ListEventsRequest::default()
        };
        record_query(&PageRequest::parse(0, "")?, request)
    }

    #[test]
    fn times_must_be_times_in_their_order() {
        assert!(between((5, 0), (5, 0)).is_ok(), "an empty range is one");
        let table = [
            ((5, 1_000), (5, 0), "start_time"),
            ((0, -1), (5, 0), "start_time"),
            ((0, 0), (5, 1_000_000_000), "end_time"),
            ((0, 0), (i64::MAX, 0), "end_time"),
        ];
        for (start, end, field) in table {
            let error = between(start, end).unwrap_err();
            assert_eq!(error.violations()[0].field, field, "{start:?} {end:?}");
        }
    }

    #[test]
    fn finer_bounds_than_records_have_are_rounded_up() {
        let query = between((5, 1), (5, 1_001)).unwrap();
        assert_eq!(query.filter.start_time.unwrap().timestamp_micros(), 5_000_001);
        assert_eq!(query.filter.end_time.unwrap().timestamp_micros(), 5_000_002);
    }
}
