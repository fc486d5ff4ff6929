//! Who may read the trail, and that reading it leaves its own mark.

use mainstay::contract::audit::AuditClient as _;
use mainstay::contract::audit::proto::{
    GetEventRequest, ListActivityRequest, ListEventsRequest, VerifyRequest,
};
use mainstay::contract::identity::UserId;
use mainstay::kernel::error::{
    FEATURE_NOT_INCLUDED, PERMISSION_DENIED, UNAUTHENTICATED, UNAVAILABLE,
};
use mainstay::kernel::settings::Transport;
use mainstay_testing::{FakeBilling, as_user, eventually};

use crate::harness::{Audit, by_actor, parcel, refused};

crate::on_both_transports!(
    only_those_with_the_permission_read_the_trail,
    activity_is_for_those_whose_plan_includes_it,
    verifications_and_denied_ones_are_recorded,
    without_authz_nobody_reads_and_recording_goes_on,
);

async fn only_those_with_the_permission_read_the_trail(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let (client, user) = (&audit.client, UserId::new().to_string());
    let get = || GetEventRequest { event_id: UserId::new().to_string() };
    let list = ListEventsRequest::default;
    refused(as_user(&user, client.list_events(list())).await, &PERMISSION_DENIED);
    refused(as_user(&user, client.get_event(get())).await, &PERMISSION_DENIED);
    refused(as_user(&user, client.verify(VerifyRequest {})).await, &PERMISSION_DENIED);
    refused(client.list_activity(ListActivityRequest::default()).await, &UNAUTHENTICATED);
}

async fn activity_is_for_those_whose_plan_includes_it(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let user = UserId::new().to_string();
    let ask = || as_user(&user, audit.client.list_activity(ListActivityRequest::default()));
    // Whatever the gateway said before: the service asks billing itself.
    refused(ask().await, &UNAVAILABLE);
    let billing = FakeBilling::new(&[("free", &[]), ("paid", &["activity.history"])]);
    let _running = billing.start(&audit.mesh).await;
    let denied = eventually("billing is asked", async || {
        ask().await.err().filter(|error| !error.is(&UNAVAILABLE))
    })
    .await;
    assert!(denied.is(&FEATURE_NOT_INCLUDED), "refused as {denied}");
    assert_eq!(denied.details()["plans"], "paid");
    billing.subscribe(&user, "paid");
    eventually("the new plan is known", async || ask().await.ok()).await;
}

async fn verifications_and_denied_ones_are_recorded(transport: Transport) {
    let audit = Audit::begin(transport).await;
    let user = UserId::new().to_string();
    let verified = audit.verify().await;
    assert!(verified.intact);
    assert!(verified.verified_records >= 2);
    as_user(&user, audit.client.verify(VerifyRequest {})).await.unwrap_err();

    for (who, outcome) in [(&audit.auditor, "OK"), (&user, "PERMISSION_DENIED")] {
        let record = audit.recorded(&by_actor(&format!("user:{who}")), 1).await.remove(0);
        assert_eq!(record.action, "audit.v1.AuditService/Verify");
        assert_eq!((record.outcome.as_str(), record.source.as_str()), (outcome, "audit-svc"));
        assert!(!record.request_id.is_empty());
    }
}

async fn without_authz_nobody_reads_and_recording_goes_on(transport: Transport) {
    let mut audit = Audit::begin(transport).await.with_paid_plans().await;
    audit.stop_authz().await;
    eventually("decisions are no longer remembered", async || {
        let request = ListEventsRequest::default();
        let result = audit.as_auditor(audit.client.list_events(request)).await;
        result.err().map(|error| assert!(error.is(&UNAVAILABLE), "refused as {error}"))
    })
    .await;
    audit.happen(vec![parcel("user:1", 1)]).await;
    let me = UserId::new().to_string();
    audit.happen(vec![parcel(&format!("user:{me}"), 1)]).await;
    eventually("one's own activity needs no permission", async || {
        let activity = audit.client.list_activity(ListActivityRequest::default());
        let page = mainstay_testing::as_user_with_plan(&me, "paid", activity).await.unwrap();
        (page.events.len() == 1).then_some(())
    })
    .await;
}
