//! Reading: filters, pages, one record, one's own activity.

use mainstay::contract::audit::AuditClient as _;
use mainstay::contract::audit::proto::{GetEventRequest, ListActivityRequest, ListEventsRequest};
use mainstay::contract::identity::UserId;
use mainstay::kernel::error::NOT_FOUND;
use mainstay::kernel::events::Envelope;
use mainstay::kernel::settings::Transport;
use mainstay_testing::as_user_with_plan;
use prost_types::Timestamp;

use crate::harness::{Audit, by_actor, parcel, refused};

crate::on_both_transports!(
    filters_select_and_bounds_hold,
    pages_go_from_the_newest_to_the_oldest,
    one_record_is_found_by_its_id,
    users_see_what_they_did_themselves,
);

async fn filters_select_and_bounds_hold(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let returned = |number| {
        let mut event: Envelope = parcel("user:2", number);
        event.r#type = "acme.parcels.v1.ParcelReturned".into();
        event
    };
    let sent = |number| parcel("user:1", number);
    audit.happen(vec![sent(1), sent(2), returned(2), sent(3), returned(4)]).await;
    audit.recorded(&by_actor("user:1"), 3).await;
    audit.recorded(&by_actor("user:2"), 2).await;

    let all = ListEventsRequest::default;
    let at = |seconds: i64, nanos| Some(Timestamp { seconds: 1_700_000_000 + seconds, nanos });
    let (start, end) = (at(1, 0), at(5, 0));
    let table = [
        ("actor", by_actor("user:2"), 2),
        ("nobody", by_actor("user:22"), 0),
        ("action", ListEventsRequest { action: "acme.parcels.v1.ParcelSent".into(), ..all() }, 3),
        ("resource", ListEventsRequest { resource: "parcels/2".into(), ..all() }, 2),
        (
            "all must hold",
            ListEventsRequest { resource: "parcels/2".into(), ..by_actor("user:1") },
            1,
        ),
        ("range", ListEventsRequest { start_time: start, end_time: end, ..all() }, 5),
        ("start counts", ListEventsRequest { start_time: at(2, 0), end_time: end, ..all() }, 4),
        ("end does not", ListEventsRequest { start_time: start, end_time: at(4, 0), ..all() }, 4),
        ("just after", ListEventsRequest { start_time: at(4, 1), end_time: end, ..all() }, 0),
        ("empty", ListEventsRequest { start_time: start, end_time: start, ..all() }, 0),
        ("start and actor", ListEventsRequest { start_time: at(3, 0), ..by_actor("user:1") }, 1),
    ];
    for (name, request, count) in table {
        let counted = ListEventsRequest { include_total: true, page_size: 1, ..request.clone() };
        let page = audit.as_auditor(audit.client.list_events(counted)).await.unwrap();
        assert_eq!(page.total_size, Some(count), "{name}");
        assert_eq!(audit.list(&request).await.len(), count as usize, "{name}");
    }
    let uncounted = audit.as_auditor(audit.client.list_events(all())).await.unwrap();
    assert_eq!(uncounted.total_size, None);
}

async fn pages_go_from_the_newest_to_the_oldest(transport: Transport) {
    let audit = Audit::begin(transport).await;
    audit.happen((0..5).map(|number| parcel("user:1", number)).collect()).await;
    audit.recorded(&by_actor("user:1"), 5).await;
    let (mut places, mut page_token) = (Vec::new(), String::new());
    for round in 0..3 {
        let request = ListEventsRequest { page_size: 2, page_token, ..by_actor("user:1") };
        let page = audit.as_auditor(audit.client.list_events(request)).await.unwrap();
        places.extend(page.events.iter().map(|record| record.sequence));
        page_token = page.next_page_token;
        // What is recorded meanwhile shifts no page.
        audit.happen(vec![parcel("user:1", 100 + round)]).await;
        audit.recorded(&by_actor("user:1"), 6 + round as usize).await;
    }
    assert_eq!(page_token, "");
    assert_eq!(places.len(), 5);
    assert!(places.is_sorted_by(|newer, older| newer > older), "{places:?}");
}

async fn one_record_is_found_by_its_id(transport: Transport) {
    let audit = Audit::begin(transport).await;
    audit.happen(vec![parcel("user:1", 1)]).await;
    let record = audit.recorded(&by_actor("user:1"), 1).await.remove(0);
    let get = GetEventRequest { event_id: record.id.clone() };
    assert_eq!(audit.as_auditor(audit.client.get_event(get)).await.unwrap(), record);
    let get = GetEventRequest { event_id: UserId::new().to_string() };
    refused(audit.as_auditor(audit.client.get_event(get)).await, &NOT_FOUND);
}

async fn users_see_what_they_did_themselves(transport: Transport) {
    let audit = Audit::begin(transport).await.with_paid_plans().await;
    let (me, other) = (UserId::new().to_string(), UserId::new().to_string());
    let (my_actor, other_actor) = (format!("user:{me}"), format!("user:{other}"));
    let mine = (0..3).map(|number| parcel(&my_actor, number));
    audit.happen(mine.chain([parcel(&other_actor, 9)]).collect()).await;
    audit.recorded(&by_actor(&my_actor), 3).await;
    audit.recorded(&by_actor(&other_actor), 1).await;

    let (mut seen, mut page_token) = (Vec::new(), String::new());
    for _ in 0..2 {
        let request = ListActivityRequest { page_size: 2, page_token };
        let page = as_user_with_plan(&me, "paid", audit.client.list_activity(request)).await;
        let page = page.unwrap();
        seen.extend(page.events);
        page_token = page.next_page_token;
    }
    assert_eq!(page_token, "");
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|record| record.actor == my_actor));
}
