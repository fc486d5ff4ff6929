//! What is recorded, and that it is recorded once.

use mainstay::contract::audit::proto::ListEventsRequest;
use mainstay::contract::auth::proto::AccountRegistered;
use mainstay::contract::authz::proto::RoleBound;
use mainstay::contract::identity::UserId;
use mainstay::kernel::proto::events::CallAudited;
use mainstay::kernel::settings::Transport;
use prost::Message as _;
use prost_types::value::Kind;

use crate::harness::{Audit, by_actor, parcel};

crate::on_both_transports!(
    domain_events_are_recorded_without_what_is_personal,
    audited_calls_are_recorded_as_what_they_were,
    events_of_unknown_types_are_recorded_too,
    an_event_is_recorded_once_however_often_it_comes,
    events_are_recorded_although_audit_was_down,
    replicas_append_to_one_chain,
);

async fn domain_events_are_recorded_without_what_is_personal(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let user = UserId::new().to_string();
    let registered = AccountRegistered {
        user_id: user.clone(),
        email: "ada@example.org".into(),
        display_name: "Ada".into(),
        roles: vec!["member".into()],
        ..AccountRegistered::default()
    };
    audit.mesh.publish(&registered).await;
    let bound = RoleBound {
        subject: format!("user:{user}"),
        role_name: "member".into(),
        ..RoleBound::default()
    };
    audit.mesh.publish(&bound).await;

    let about_user =
        ListEventsRequest { resource: format!("users/{user}"), ..ListEventsRequest::default() };
    let records = audit.recorded(&about_user, 2).await;
    let registered =
        records.iter().find(|record| record.action == "auth.v1.AccountRegistered").unwrap();
    assert!(records.iter().any(|record| record.action == "authz.v1.RoleBound"));
    assert_eq!((registered.actor.as_str(), registered.outcome.as_str()), ("platform", "OK"));
    assert!(registered.time.is_some());
    let details = format!("{:?}", registered.details);
    assert!(details.contains("member") && details.contains("redacted"), "{details}");
    assert!(!details.contains("ada@example.org") && !details.contains("Ada\""), "{details}");
}

async fn audited_calls_are_recorded_as_what_they_were(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let call = CallAudited {
        method: "mainstay.identity.v1.UserService/UpdateUser".into(),
        resource: "users/7".into(),
        outcome: "PERMISSION_DENIED".into(),
        request_json: r#"{"user_id":"7","tags":["a",1,true,null]}"#.into(),
        caller: "gateway".into(),
    };
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut envelope = parcel("user:7", 1);
    envelope.r#type = "mainstay.events.v1.CallAudited".into();
    envelope.topic = "platform.calls".into();
    envelope.source = "/identity-svc".into();
    envelope.traceparent = format!("00-{trace_id}-00f067aa0ba902b7-01");
    envelope.data = call.encode_to_vec();
    let id = envelope.id.clone();
    audit.happen(vec![envelope]).await;

    let record = audit.recorded(&by_actor("user:7"), 1).await.remove(0);
    assert_eq!(record.id, id);
    assert_eq!(record.action, "identity.v1.UserService/UpdateUser");
    assert_eq!(
        (record.resource.as_str(), record.outcome.as_str()),
        ("users/7", "PERMISSION_DENIED")
    );
    assert_eq!((record.request_id.as_str(), record.trace_id.as_str()), ("request-1", trace_id));
    assert_eq!(
        (record.source.as_str(), record.time.unwrap().seconds),
        ("identity-svc", 1_700_000_001)
    );
    let details = record.details.unwrap().fields;
    assert_eq!(details["caller"].kind, Some(Kind::StringValue("gateway".into())));
    let Some(Kind::StructValue(request)) = &details["request"].kind else {
        panic!("the request is an object: {details:?}")
    };
    assert_eq!(request.fields["user_id"].kind, Some(Kind::StringValue("7".into())));
}

async fn events_of_unknown_types_are_recorded_too(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let mut envelope = parcel("service:parcel-svc", 4);
    envelope.data = vec![0xff, 0xff, 0xff];
    audit.happen(vec![envelope]).await;
    let record = audit.recorded(&by_actor("service:parcel-svc"), 1).await.remove(0);
    assert_eq!(record.action, "acme.parcels.v1.ParcelSent");
    assert_eq!((record.resource.as_str(), record.source.as_str()), ("parcels/4", "parcel-svc"));
    assert!(record.details.unwrap().fields.is_empty());
}

async fn an_event_is_recorded_once_however_often_it_comes(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let event = parcel("user:1", 1);
    audit.happen(vec![event.clone(), event.clone()]).await;
    audit.happen(vec![event, parcel("user:1", 2)]).await;
    let records = audit.recorded(&by_actor("user:1"), 2).await;
    assert_ne!(records[0].id, records[1].id);
    assert!(audit.verify().await.intact);
}

async fn events_are_recorded_although_audit_was_down(transport: Transport) {
    let mut audit = Audit::begin(transport).await;
    audit.happen(vec![parcel("user:1", 1)]).await;
    let before = audit.recorded(&by_actor("user:1"), 1).await;
    audit.stop().await;
    // Of one aggregate, so that the broker keeps their order.
    let missed: Vec<_> = (2..7)
        .map(|number| {
            let mut event = parcel("user:1", number);
            event.subject = "1".to_owned();
            event
        })
        .collect();
    let ids: Vec<_> = missed.iter().map(|event| event.id.clone()).collect();
    audit.happen(missed).await;
    audit.restart().await;
    let mut records = audit.recorded(&by_actor("user:1"), 6).await;
    assert_eq!(records.pop().as_ref(), before.first(), "what was recorded stays as it was");
    records.reverse();
    assert_eq!(
        records.iter().map(|record| &record.id).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    assert_eq!(records[0].time.unwrap().seconds, 1_700_000_002, "the time is that of the event");
    assert!(audit.verify().await.intact);
}

async fn replicas_append_to_one_chain(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let other = audit.another().await;
    let events = (0..60).map(|number| parcel("user:1", number)).collect();
    audit.happen(events).await;
    let all = ListEventsRequest { page_size: 200, ..by_actor("user:1") };
    audit.recorded(&all, 60).await;
    let everything = ListEventsRequest { page_size: 200, ..ListEventsRequest::default() };
    let mut places: Vec<_> =
        audit.list(&everything).await.iter().map(|record| record.sequence).collect();
    places.reverse();
    assert_eq!(places, (1..=places.len() as i64).collect::<Vec<_>>(), "no gap, no place twice");
    assert!(audit.verify().await.intact);
    other.drain().await;
}
