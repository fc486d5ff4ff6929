//! Expressions of which many panels ask one; `{@` becomes the scope of the dashboard.

/// Durations of requests at the edge, of calls that a service serves, and of calls that one makes.
pub(super) const REQUESTS: &str = "http_server_request_duration_seconds";
pub(super) const SERVED: &str = "rpc_server_call_duration_seconds";
pub(super) const MADE: &str = "rpc_client_call_duration_seconds";
/// How long transactions waited for the database.
pub(super) const WAITED: &str = "db_client_connection_wait_time_seconds";

/// What stands in the selector of a request that failed by our fault.
pub(super) const FAILED: &str = "http_response_status_code=~\"5..\"";
/// What stands in the selector of a call that failed by the callee's fault.
pub(super) const BY_ITS_FAULT: &str =
    "rpc_response_status_code=~\"UNKNOWN|INTERNAL|UNAVAILABLE|DATA_LOSS|DEADLINE_EXCEEDED\"";

/// How much of a counter comes in a second, summed up by these labels; all of it where there are none.
pub(super) fn rate(by: &str, counter: &str) -> String {
    rate_of(by, &format!("{counter}{{@}}"))
}

/// As [`rate`], of what a selector leaves: `which` stands after the scope.
pub(super) fn rate_where(by: &str, counter: &str, which: &str) -> String {
    rate_of(by, &format!("{counter}{{@,{which}}}"))
}

fn rate_of(by: &str, selected: &str) -> String {
    let sum = if by.is_empty() { "sum".to_owned() } else { format!("sum by ({by}) ") };
    format!("{sum}(rate({selected}[$__rate_interval]))")
}

/// Within what this part of a histogram's observations lies, by these labels.
pub(super) fn quantile(part: &str, by: &str, histogram: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("{by}, le") };
    format!("histogram_quantile({part}, {})", rate(&by, &format!("{histogram}_bucket")))
}

/// The highest so many.
pub(super) fn highest(most: u32, expression: &str) -> String {
    format!("topk({most}, {expression})")
}

/// How many observations come into a histogram in a second.
pub(super) fn per_second(by: &str, histogram: &str) -> String {
    rate(by, &format!("{histogram}_count"))
}

/// As [`per_second`], of what a selector leaves.
pub(super) fn per_second_where(by: &str, histogram: &str, which: &str) -> String {
    rate_where(by, &format!("{histogram}_count"), which)
}

/// The mean of what is observed.
pub(super) fn mean(by: &str, histogram: &str) -> String {
    share(&rate(by, &format!("{histogram}_sum")), &per_second(by, histogram))
}

/// The part of all observations that a selector leaves, 0 where it leaves none.
pub(super) fn failing(histogram: &str, which: &str) -> String {
    let failed = per_second_where("", histogram, which);
    share(&format!("({failed} or vector(0))"), &per_second("", histogram))
}

/// The part of questions that was answered by what is kept.
pub(super) fn answered_by_kept(by: &str) -> String {
    let counter = "mainstay_kept_lookups_total";
    share(&rate_where(by, counter, "outcome=\"hit\""), &rate(by, counter))
}

/// One by the other.
pub(super) fn share(part: &str, whole: &str) -> String {
    format!("{part} / {whole}")
}

/// Where there is any.
pub(super) fn any(expression: &str) -> String {
    format!("{expression} > 0")
}
