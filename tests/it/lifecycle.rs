//! A service starts, serves, and drains without losing a call.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstay::contract::audit::{self, AuditClient as _, GrpcAuditClient, proto};
use mainstay::contract::{self, identity};
use mainstay::kernel::call::User;
use mainstay::kernel::jobs::Job;
use mainstay::kernel::lifecycle::{self, Drained, Module, Platform, Running};
use mainstay::kernel::policy::{Authorizer, Entitlements, Plan};
use mainstay::kernel::proto::events::ServiceDeclared;
use mainstay_testing::{NoSettings, Rest, TestMesh, as_user, eventually};
use proto::audit_service_server::{AuditService, AuditServiceServer};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// A trail that answers `list_activity` when the story lets it.
#[derive(Clone)]
pub(crate) struct SlowTrail {
    entered: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl SlowTrail {
    pub(crate) fn new() -> Self {
        Self { entered: Arc::new(Semaphore::new(0)), released: Arc::new(Semaphore::new(0)) }
    }

    async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }

    fn release(&self) {
        self.released.add_permits(1);
    }
}

#[async_trait]
impl AuditService for SlowTrail {
    async fn list_activity(
        &self,
        _: Request<proto::ListActivityRequest>,
    ) -> Result<Response<proto::ListActivityResponse>, Status> {
        self.entered.add_permits(1);
        self.released.acquire().await.unwrap().forget();
        Ok(Response::new(proto::ListActivityResponse {
            next_page_token: "served".to_owned(),
            ..proto::ListActivityResponse::default()
        }))
    }

    async fn list_events(
        &self,
        _: Request<proto::ListEventsRequest>,
    ) -> Result<Response<proto::ListEventsResponse>, Status> {
        Ok(Response::new(proto::ListEventsResponse::default()))
    }

    async fn get_event(
        &self,
        _: Request<proto::GetEventRequest>,
    ) -> Result<Response<proto::AuditEvent>, Status> {
        Err(Status::not_found("no such event"))
    }

    async fn verify(
        &self,
        _: Request<proto::VerifyRequest>,
    ) -> Result<Response<proto::VerifyResponse>, Status> {
        Ok(Response::new(proto::VerifyResponse::default()))
    }
}

/// Allows everything, on a plan that includes all that the service offers.
struct AllowAll;

#[async_trait]
impl Entitlements for AllowAll {
    async fn plan_of(&self, _: &User) -> mainstay::kernel::Result<Arc<Plan>> {
        Ok(Arc::new(Plan { id: "free".into(), features: vec!["activity.history".into()] }))
    }

    async fn plans_with(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

#[async_trait]
impl Authorizer for AllowAll {
    async fn check(&self, _: &str, _: &str, _: &str) -> mainstay::kernel::Result<bool> {
        Ok(true)
    }
}

pub(crate) fn sound_module(trail: SlowTrail) -> Module {
    Module::new(contract::DESCRIPTORS)
        .grpc(AuditServiceServer::new(trail))
        .depends_on(identity::SERVICE)
        .permission("audit.events.list", "List the trail.")
        .permission("audit.events.read", "Read one record.")
        .permission("audit.events.verify", "Verify the chain.")
        .authorizer(Arc::new(AllowAll))
        .entitlements(Arc::new(AllowAll))
}

async fn start(mesh: &TestMesh, trail: &SlowTrail) -> Running {
    let trail = trail.clone();
    mesh.start(audit::SERVICE, NoSettings {}, async |_: Platform<NoSettings>| {
        Ok(sound_module(trail))
    })
    .await
}

/// Calls `list_activity` as a user, through the gateway's identity.
async fn activity(client: GrpcAuditClient) -> mainstay::kernel::Result<String> {
    let user = "0190a0a0-0000-7000-8000-000000000001";
    let call = client.list_activity(proto::ListActivityRequest::default());
    as_user(user, call).await.map(|reply| reply.next_page_token)
}

#[tokio::test]
async fn a_started_service_is_ready_registered_and_has_declared_its_permissions() {
    let mesh = TestMesh::new();
    let running = start(&mesh, &SlowTrail::new()).await;

    let admin = Rest::new(running.admin_addr());
    assert_eq!(admin.get("/healthz").await.status, 200);
    assert_eq!(admin.get("/readyz").await.status, 200);
    assert!(admin.get("/metrics").await.text().contains("mainstay_build_info"));

    let instance = eventually("the instance is registered", async || {
        mesh.registry().watch().borrow().get(audit::SERVICE).map(|all| all[0].clone())
    })
    .await;
    assert_eq!(instance.address, running.local_addr().to_string());
    assert_eq!(instance.descriptor_hash.len(), 64, "SHA-256 in hexadecimal");

    let declared = eventually("the service declares itself", async || {
        mesh.events::<ServiceDeclared>().await.pop()
    })
    .await;
    assert_eq!(declared.service, audit::SERVICE);
    assert_eq!(declared.permissions.len(), 3);
    assert_eq!(running.drain().await, Drained::InTime);
}

#[tokio::test]
async fn a_drain_loses_no_call_in_flight_and_takes_the_instance_off_the_registry() {
    let mesh = TestMesh::new();
    let trail = SlowTrail::new();
    let running = start(&mesh, &trail).await;
    let admin = Rest::new(running.admin_addr());
    let client = GrpcAuditClient::new(mesh.channel("gateway", audit::SERVICE));

    let in_flight = tokio::spawn(activity(client));
    trail.entered().await;
    let drain = tokio::spawn(running.drain());
    eventually("the process says that it drains", async || {
        (admin.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    eventually("the instance is deregistered", async || {
        (!mesh.registry().watch().borrow().contains_key(audit::SERVICE)).then_some(())
    })
    .await;
    assert!(!drain.is_finished(), "a call is in flight");
    assert_eq!(admin.get("/healthz").await.status, 200, "the process is alive while it drains");

    trail.release();
    assert_eq!(in_flight.await.unwrap().unwrap(), "served");
    assert_eq!(drain.await.unwrap(), Drained::InTime);
}

#[tokio::test]
async fn a_call_that_never_ends_is_cut_off_at_the_deadline() {
    let mesh = TestMesh::new();
    let trail = SlowTrail::new();
    let mut settings = mesh.settings(audit::SERVICE, NoSettings {});
    settings.kernel.lifecycle.drain_deadline = Duration::from_millis(300);
    let module = sound_module(trail.clone());
    let running = lifecycle::start(audit::SERVICE, settings, async |_| Ok(module)).await.unwrap();
    let client = GrpcAuditClient::new(mesh.channel("gateway", audit::SERVICE));

    let in_flight = tokio::spawn(activity(client));
    trail.entered().await;
    assert_eq!(running.drain().await, Drained::DeadlinePassed);
    assert!(in_flight.await.unwrap().is_err(), "it was cut off");
}

#[tokio::test]
async fn an_unsound_module_is_refused_by_name() {
    type Spoil = fn(Module) -> Module;
    let trail = || AuditServiceServer::new(SlowTrail::new());
    let cases: [(Spoil, &str); 9] = [
        (|module| module.depends_on("nobody-svc"), "dependency nobody-svc is a service of no"),
        (|module| module.depends_on(audit::SERVICE), "audit-svc depends on itself"),
        (
            |module| module.depends_on(identity::SERVICE),
            "dependency identity-svc is declared twice",
        ),
        (|module| module.permission("audit.events.burn", "Burn."), "permission audit.events.burn"),
        (|module| module.http(axum::Router::new()), "offers gRPC and HTTP"),
        (
            |module| {
                let tidy = || Job::new("tidy", async |_| Ok(()));
                module.job(tidy()).job(tidy())
            },
            "job tidy is declared twice",
        ),
        (
            |module| module.job(Job::new("tidy", async |_| Ok(())).cron("every day")),
            "job tidy has no sound schedule",
        ),
        (
            |module| module.job(Job::new("kernel.tidy", async |_| Ok(()))),
            "kernel.tidy has a name of the kernel's",
        ),
        (
            |module| module.on_start(|| async { anyhow::bail!("the catalogue is missing") }),
            "the catalogue is missing",
        ),
    ];
    for (spoil, expected) in cases {
        refused(spoil(sound_module(SlowTrail::new())), expected).await;
    }
    let bare = || Module::new(contract::DESCRIPTORS);
    refused(bare(), "offers nothing").await;
    refused(bare().grpc(trail()), "is declared nowhere").await;
    let undecided = bare()
        .grpc(trail())
        .permission("audit.events.list", "List the trail.")
        .permission("audit.events.read", "Read one record.")
        .permission("audit.events.verify", "Verify the chain.");
    refused(undecided, "nobody decides on it").await;
}

async fn refused(module: Module, expected: &str) {
    let mesh = TestMesh::new();
    let settings = mesh.settings(audit::SERVICE, NoSettings {});
    let started = lifecycle::start(audit::SERVICE, settings, async |_| Ok(module)).await;
    let error = started.err().unwrap_or_else(|| panic!("was to be refused: {expected}"));
    assert!(format!("{error:#}").contains(expected), "{error:#} does not say {expected}");
}
