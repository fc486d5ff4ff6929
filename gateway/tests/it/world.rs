//! A mesh with a gateway, a library and what the gateway asks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::GatewaySettings;
use mainstay::contract::auth::proto::auth_service_server::AuthServiceServer;
use mainstay::contract::authz::{GrpcAuthzClient, RemoteAuthorizer};
use mainstay::contract::billing::{self, GrpcBillingClient, RemoteEntitlements};
use mainstay::contract::{self, auth};
use mainstay::kernel::lifecycle::{self, Module, Running};
use mainstay::kernel::settings::{Args, ServiceDefaults, Settings, load_from};
use mainstay::kernel::telemetry::Metrics;
use mainstay_testing::{FakeAuthz, FakeBilling, NoSettings, Rest, TestMesh, eventually};

use crate::fakes::FakeAuth;
use crate::library::{Arrived, Dynamic, Library, Named, descriptors, librarian};

pub(crate) const USER: &str = "01900000-0000-7000-8000-000000000001";
pub(crate) const OTHER: &str = "01900000-0000-7000-8000-000000000002";

/// Plans and what they include; users are on the first.
const CATALOGUE: [(&str, &[&str]); 2] = [("free", &[]), ("ai", &["library.recommendations"])];

/// Everything that a story needs. Services end when it is dropped.
pub(crate) struct World {
    pub(crate) mesh: TestMesh,
    pub(crate) auth: FakeAuth,
    pub(crate) billing: FakeBilling,
    /// The calls that reached the library.
    pub(crate) calls: Arc<Mutex<Vec<Arrived>>>,
    pub(crate) gateway: Running,
    pub(crate) library: Option<Running>,
    pub(crate) billing_svc: Option<Running>,
    pub(crate) authz: FakeAuthz,
    pub(crate) authz_svc: Option<Running>,
    /// Who may create books on shelf `s1`.
    librarians: Arc<Mutex<BTreeSet<String>>>,
    _auth_svc: Running,
}

impl World {
    /// A world with default settings, in which [`USER`] may create books on shelf `s1`.
    pub(crate) async fn new() -> Self {
        Self::with(GatewaySettings::default()).await
    }

    /// One whose streams of events show soon that they live.
    pub(crate) async fn with_heartbeats() -> Self {
        let stream_heartbeat = Duration::from_millis(20);
        Self::with(GatewaySettings { stream_heartbeat, ..GatewaySettings::default() }).await
    }

    pub(crate) async fn with(settings: GatewaySettings) -> Self {
        Self::build(|mesh| mesh.settings(gateway::SERVICE, settings)).await
    }

    /// A world whose gateway reads its own settings from a file with this text, which a story changes
    /// by [`World::write_settings`].
    pub(crate) async fn of_file(text: &str) -> Self {
        Self::build(|mesh| {
            write_settings(mesh, text);
            let args = Args { settings: Some(settings_file(mesh)), ..Args::default() };
            let defaults = ServiceDefaults { name: gateway::SERVICE, port: gateway::PORT };
            let loaded = load_from(&args, defaults, BTreeMap::new()).unwrap();
            let kernel = mesh.settings(gateway::SERVICE, GatewaySettings::default()).kernel;
            Settings { kernel, ..loaded }
        })
        .await
    }

    pub(crate) async fn build(
        settings: impl FnOnce(&TestMesh) -> Settings<GatewaySettings>,
    ) -> Self {
        let mesh = TestMesh::new();
        let (auth, billing) = (FakeAuth::new(), FakeBilling::new(&CATALOGUE));
        let calls = Arc::default();
        let library = Some(start_library(&mesh, &calls).await);
        let fake = auth.clone();
        let auth_svc = mesh
            .start(auth::SERVICE, NoSettings {}, async move |_| {
                Ok(Module::new(contract::DESCRIPTORS).grpc(AuthServiceServer::new(fake)))
            })
            .await;
        let billing_svc = Some(billing.start(&mesh).await);
        let librarians = Arc::new(Mutex::new(BTreeSet::from([format!("user:{USER}")])));
        let known = Arc::clone(&librarians);
        let authz = FakeAuthz::deciding(move |subject, permission, resource| {
            known.lock().unwrap().contains(subject)
                && permission == "library.books.create"
                && resource == "shelves/s1"
        });
        let authz_svc = Some(authz.serve(&mesh).await);
        let settings = settings(&mesh);
        let gateway = lifecycle::start(gateway::SERVICE, settings, gateway::module).await.unwrap();
        let world = Self {
            mesh,
            auth,
            billing,
            calls,
            gateway,
            library,
            billing_svc,
            authz,
            authz_svc,
            librarians,
            _auth_svc: auth_svc,
        };
        let admin = world.admin();
        eventually("the library is routed", async || {
            admin.get("/admin/routes").await.text().contains("LibraryService").then_some(())
        })
        .await;
        world
    }

    /// Changes the settings file of [`World::of_file`].
    pub(crate) fn write_settings(&self, text: &str) {
        write_settings(&self.mesh, text);
    }

    /// Lets a user create books, or not, and has authz tell that something has changed.
    pub(crate) fn let_create(&self, user: &str, may: bool) {
        self.let_create_untold(user, may);
        self.authz.change();
    }

    /// As [`World::let_create`], but nobody tells.
    pub(crate) fn let_create_untold(&self, user: &str, may: bool) {
        let (mut librarians, subject) = (self.librarians.lock().unwrap(), format!("user:{user}"));
        match may {
            true => librarians.insert(subject),
            false => librarians.remove(&subject),
        };
    }

    /// Without a token.
    pub(crate) fn rest(&self) -> Rest {
        Rest::new(self.gateway.local_addr())
    }

    /// As a user on the plan `free`.
    pub(crate) fn as_user(&self, user: &str) -> Rest {
        self.rest().with_bearer(&self.auth.token(user, "free"))
    }

    /// The admin port.
    pub(crate) fn admin(&self) -> Rest {
        Rest::new(self.gateway.admin_addr())
    }

    /// The last call that reached the library.
    pub(crate) fn last_call(&self) -> Arrived {
        self.calls.lock().unwrap().last().cloned().unwrap()
    }

    /// How many calls have reached the library.
    pub(crate) fn call_count(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

fn settings_file(mesh: &TestMesh) -> PathBuf {
    mesh.path().join("gateway.toml")
}

/// Mutual TLS is what the mesh of a story brings; the file alone would have to name certificates.
fn write_settings(mesh: &TestMesh, text: &str) {
    let text = format!("[tls]\nmode = \"plaintext\"\n{text}");
    std::fs::write(settings_file(mesh), text).unwrap();
}

pub(crate) async fn start_library(mesh: &TestMesh, calls: &Arc<Mutex<Vec<Arrived>>>) -> Running {
    let channel = mesh.channel("library-svc", contract::authz::SERVICE);
    let metrics = Metrics::new("library-svc", "0");
    let authorizer = Arc::new(RemoteAuthorizer::new(GrpcAuthzClient::new(channel), &metrics));
    let channel = mesh.channel("library-svc", billing::SERVICE);
    let billing = GrpcBillingClient::new(channel);
    let entitlements = Arc::new(RemoteEntitlements::new(billing, None, &metrics));
    let library = dynamic::<Library>("library/v1/library.proto", calls);
    mesh.start("library-svc", NoSettings {}, async move |_| {
        Ok(Module::new(descriptors("library/v1/library.proto"))
            .grpc(library)
            .permission("library.books.create", "Add books.")
            .authorizer(authorizer)
            .entitlements(entitlements))
    })
    .await
}

pub(crate) fn dynamic<N: Named>(file: &str, calls: &Arc<Mutex<Vec<Arrived>>>) -> Dynamic<N> {
    Dynamic::new(descriptors(file), Arc::clone(calls), Arc::new(librarian))
}
