//! Bad input.

use mainstay::contract::audit::AuditClient as _;
use mainstay::contract::audit::proto::{GetEventRequest, ListActivityRequest, ListEventsRequest};
use mainstay::kernel::Result;
use mainstay::kernel::error::INVALID_ARGUMENT;
use mainstay::kernel::settings::Transport;
use mainstay_testing::as_user_with_plan;
use prost_types::Timestamp;

use crate::harness::Audit;

crate::on_both_transports!(malformed_requests_are_refused_by_field);

async fn malformed_requests_are_refused_by_field(transport: Transport) {
    let audit = Audit::begin(transport).await.with_paid_plans().await;
    let all = ListEventsRequest::default;
    let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let long = "x".repeat(300);
    let token = |page_token: &str| ListEventsRequest { page_token: page_token.into(), ..all() };
    let table = [
        ("page_size", ListEventsRequest { page_size: -1, ..all() }),
        ("page_size", ListEventsRequest { page_size: 201, ..all() }),
        ("page_token", token("nonsense")),
        ("page_token", token("W10")),
        ("page_token", token("WyJ4Il0")),
        ("page_token", token(&"x".repeat(1025))),
        ("actor", ListEventsRequest { actor: long.clone(), ..all() }),
        ("action", ListEventsRequest { action: long.clone(), ..all() }),
        ("resource", ListEventsRequest { resource: long.clone(), ..all() }),
        ("start_time", ListEventsRequest { start_time: at(6, 0), end_time: at(5, 0), ..all() }),
        ("start_time", ListEventsRequest { start_time: at(0, -1), ..all() }),
        ("end_time", ListEventsRequest { end_time: at(i64::MAX, 0), ..all() }),
        ("end_time", ListEventsRequest { end_time: at(0, 1_000_000_000), ..all() }),
    ];
    for (field, request) in table {
        invalid(audit.as_auditor(audit.client.list_events(request)).await, field);
    }
    for event_id in ["", "1", "0190", &long] {
        let request = GetEventRequest { event_id: event_id.into() };
        invalid(audit.as_auditor(audit.client.get_event(request)).await, "event_id");
    }
    let request = ListActivityRequest { page_token: "nonsense".into(), page_size: 0 };
    let activity = audit.client.list_activity(request);
    invalid(as_user_with_plan(&audit.auditor, "paid", activity).await, "page_token");
}

/// Asserts that a request was refused and that field named.
#[track_caller]
fn invalid<T: std::fmt::Debug>(result: Result<T>, field: &str) {
    let error = result.expect_err("the request was to be refused");
    assert!(error.is(&INVALID_ARGUMENT), "refused as {error}");
    let named = error.violations().iter().any(|violation| violation.field == field);
    assert!(named, "{error} does not name {field}: {:?}", error.violations());
}
