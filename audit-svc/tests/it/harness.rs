//! A mesh with audit in it, a stand-in for authz, and somebody who may read the trail.

use audit_svc::config::Config;
use mainstay::contract::audit::proto::{
    AuditEvent, ListEventsRequest, VerifyRequest, VerifyResponse,
};
use mainstay::contract::audit::{AuditClient as _, GrpcAuditClient, SERVICE};
use mainstay::contract::identity::UserId;
use mainstay::kernel::events::{Envelope, TopicSpec};
use mainstay::kernel::lifecycle::Running;
use mainstay::kernel::settings::{ChannelSettings, Transport};
use mainstay::kernel::{ErrorCode, Result};
use mainstay_testing::{FakeAuthz, FakeBilling, TestMesh, as_user, eventually};
use prost_types::Timestamp;

/// A topic that no contract declares.
pub const EXTRA_TOPIC: &str = "acme.parcels";

/// Audit at work.
pub struct Audit {
    pub mesh: TestMesh,
    /// Id of the user who may do everything with the trail.
    pub auditor: String,
    pub client: GrpcAuditClient,
    running: Option<Running>,
    authz: Option<Running>,
    billing: Option<Running>,
}

impl Audit {
    /// Audit in a mesh of its own, when all services have told that they are there.
    pub async fn begin(transport: Transport) -> Self {
        Self::begin_with(transport, config()).await
    }

    /// As [`Audit::begin`], with settings of its own.
    pub async fn begin_with(transport: Transport, config: Config) -> Self {
        let mesh = TestMesh::new();
        let auditor = UserId::new().to_string();
        let allowed = format!("user:{auditor}");
        let authz = FakeAuthz::start(&mesh, move |subject, _, _| subject == allowed).await;
        let running = mesh.start(SERVICE, config, audit_svc::module).await;
        let settings = ChannelSettings { transport, ..ChannelSettings::default() };
        let client = GrpcAuditClient::new(mesh.channel_with("gateway", SERVICE, &settings));
        let audit = Self {
            mesh,
            auditor,
            client,
            running: Some(running),
            authz: Some(authz),
            billing: None,
        };
        for service in ["authz-svc", "audit-svc"] {
            let declared = ListEventsRequest {
                resource: format!("services/{service}"),
                ..ListEventsRequest::default()
            };
            audit.recorded(&declared, 1).await;
        }
        audit
    }

    /// Runs calls for the auditor.
    pub async fn as_auditor<F: Future>(&self, future: F) -> F::Output {
        as_user(&self.auditor, future).await
    }

    /// Lets something happen as its envelope says, on a topic that only its publisher makes.
    pub async fn happen(&self, events: Vec<Envelope>) {
        let bus = self.mesh.bus();
        bus.prepare(&[TopicSpec::new(EXTRA_TOPIC)]).await.unwrap();
        bus.publish(events).await.unwrap();
    }

    /// The records of a query, newest first.
    pub async fn list(&self, request: &ListEventsRequest) -> Vec<AuditEvent> {
        self.as_auditor(self.client.list_events(request.clone())).await.unwrap().events
    }

    /// Waits until a query finds so many records and returns them, newest first.
    pub async fn recorded(&self, request: &ListEventsRequest, count: usize) -> Vec<AuditEvent> {
        eventually("all is recorded", async || {
            let found = self.list(request).await;
            assert!(found.len() <= count, "more is recorded than happened: {found:?}");
            (found.len() == count).then_some(found)
        })
        .await
    }

    /// Verifies the trail for the auditor.
    pub async fn verify(&self) -> VerifyResponse {
        self.as_auditor(self.client.verify(VerifyRequest {})).await.unwrap()
    }

    /// Starts a stand-in for billing with every user on the plan `paid`.
    pub async fn with_paid_plans(mut self) -> Self {
        let billing = FakeBilling::new(&[("paid", &["activity.history"])]);
        self.billing = Some(billing.start(&self.mesh).await);
        self
    }

    /// Ends the process and waits until it has.
    pub async fn stop(&mut self) {
        self.running.take().unwrap().drain().await;
    }

    /// Starts it again over the same database.
    pub async fn restart(&mut self) {
        self.running = Some(self.another().await);
    }

    /// One more replica over the same database.
    pub async fn another(&self) -> Running {
        self.mesh.start(SERVICE, config(), audit_svc::module).await
    }

    /// Ends the stand-in for authz.
    pub async fn stop_authz(&mut self) {
        self.authz.take().unwrap().drain().await;
    }
}

/// Batches of two, so that every verification crosses some.
pub fn config() -> Config {
    Config { extra_topics: vec![EXTRA_TOPIC.to_owned()], verify_batch_size: 2, ..Config::default() }
}

/// An event of a type that no contract describes, by an actor, at a time.
pub fn parcel(actor: &str, number: i64) -> Envelope {
    Envelope {
        id: UserId::new().to_string(),
        source: "/parcel-svc".to_owned(),
        r#type: "acme.parcels.v1.ParcelSent".to_owned(),
        subject: number.to_string(),
        time: Some(Timestamp { seconds: 1_700_000_000 + number, nanos: 0 }),
        topic: EXTRA_TOPIC.to_owned(),
        actor: actor.to_owned(),
        request_id: format!("request-{number}"),
        ..Envelope::default()
    }
}

/// A query for what an actor did.
pub fn by_actor(actor: &str) -> ListEventsRequest {
    ListEventsRequest { actor: actor.to_owned(), ..ListEventsRequest::default() }
}

/// Asserts that a call was refused with that row of the table of errors.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T>, code: &ErrorCode) {
    let error = result.expect_err("the call was to be refused");
    assert!(error.is(code), "refused as {error}, not as {}", code.reason);
}
