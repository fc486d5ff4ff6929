//! The whole platform as real processes: five services and the gateway on free ports, with
//! everything they keep in one folder that goes away with the test.

mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mainstay::contract::operations::OPERATOR;
use mainstay::contract::{self, audit, auth, authz, billing, identity};
use mainstay::kernel::events::{EventBus, open_bus};
use mainstay::kernel::lifecycle::MeshClient;
use mainstay::kernel::settings::RedisSettings;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::broker::TestBroker;
use crate::certificates::Authority;
use crate::databases::Databases;
use crate::infra::{Infra, infra};
use crate::registry::TestRegistry;
use crate::rest::Rest;
use crate::wait::eventually;
pub use process::{binary, command};

use process::Process;

/// The gateway's name in the mesh.
const GATEWAY: &str = "gateway";

/// Identities of people: who calls services directly, and who operates them.
const PEOPLE: [&str; 2] = ["developer", OPERATOR];

/// For each service a path that it alone answers, so that the gateway's answer tells whether it has
/// learned the service's routes.
const PROBES: [(&str, &str); 5] = [
    (authz::SERVICE, "/api/v1/roles"),
    (audit::SERVICE, "/api/v1/audit/events"),
    (identity::SERVICE, "/api/v1/users/me"),
    (billing::SERVICE, "/api/v1/billing/plans"),
    (auth::SERVICE, "/.well-known/jwks.json"),
];

/// Service and binary, in the order of start: a registration passes through those before auth.
const SERVICES: [(&str, &str); 6] = [
    (authz::SERVICE, "authz-svc"),
    (audit::SERVICE, "audit-svc"),
    (identity::SERVICE, "identity-svc"),
    (billing::SERVICE, "billing-svc"),
    (auth::SERVICE, "auth-svc"),
    (GATEWAY, "mainstay-gateway"),
];

/// E-mail address of the administrator that every test platform has.
pub const ADMIN_EMAIL: &str = "admin@mainstay.test";

/// Password of that administrator.
pub const ADMIN_PASSWORD: &str = "correct horse battery staple";

/// Six processes that join a broker and fill their pools are as much as a small machine does at a time: on the
/// servers that stories share, whole platforms take turns.
static TURN: Semaphore = Semaphore::const_new(1);

/// A running platform. Dropped, it kills its processes; in a test that fails, it prints their logs.
pub struct Platform {
    processes: BTreeMap<&'static str, Process>,
    broker: TestBroker,
    folder: TempDir,
    databases: Databases,
    authority: Authority,
    registry: TestRegistry,
    variables: Vec<(String, String)>,
    /// Given back after the processes have ended.
    _turn: Option<SemaphorePermit<'static>>,
}

/// A user who registered and logged in.
pub struct Account {
    /// Id of the user.
    pub id: String,
    /// E-mail address.
    pub email: String,
    /// Password.
    pub password: String,
    /// The reply of the login: `access_token`, `refresh_token`, `token_type`, `expires_in`.
    pub tokens: serde_json::Value,
    /// A client that speaks for the user.
    pub rest: Rest,
}

impl Platform {
    /// Starts all processes and waits until each is ready and the gateway routes to all of them.
    ///
    /// # Panics
    /// If a binary is not built, or a process does not become ready; its log is shown.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`Platform::start`], with environment variables such as
    /// `("MAINSTAY_CHANNEL__TRANSPORT", "grpc-web")`. Those of one service's own settings,
    /// `MAINSTAY_AUTH__…`, reach that service alone.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        Self::start_services(&SERVICES.map(|(service, _)| service), variables).await
    }

    /// As [`Platform::start_with`], with these services alone.
    pub async fn start_services(services: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::launch_all(services, infra(), variables).await
    }

    /// As [`Platform::start_with`], on these servers, of which some may be the story's own.
    pub async fn start_on(servers: &Infra, variables: &[(&str, &str)]) -> Self {
        let services = SERVICES.map(|(service, _)| service);
        Self::launch_all(&services, Some(servers), variables).await
    }

    async fn launch_all(
        services: &[&str],
        servers: Option<&Infra>,
        variables: &[(&str, &str)],
    ) -> Self {
        let is_whole = services.len() == SERVICES.len();
        let turn = if servers.is_some() && is_whole { TURN.acquire().await.ok() } else { None };
        let mut platform = Self::prepare(servers, variables, turn);
        for (service, binary) in SERVICES.into_iter().filter(|(name, _)| services.contains(name)) {
            let process = platform.launch(service, binary);
            platform.processes.insert(service, process);
        }
        for process in platform.processes.values_mut() {
            process.ready().await;
        }
        platform.routed().await;
        platform
    }

    /// A REST client of the gateway, with no token.
    pub fn rest(&self) -> Rest {
        Rest::new(self.process(GATEWAY).address())
    }

    /// A REST client of a process's admin port: `/healthz`, `/readyz`, `/metrics`.
    pub fn admin_port(&self, service: &str) -> Rest {
        Rest::new(self.process(service).admin_address())
    }

    /// Where a service's admin port is.
    pub fn admin_address(&self, service: &str) -> std::net::SocketAddr {
        self.process(service).admin_address()
    }

    /// Logs the administrator in, once authz has heard who that is.
    pub async fn admin(&self) -> Account {
        let admin = self.log_in(ADMIN_EMAIL, ADMIN_PASSWORD).await;
        eventually("the administrator may administer", async || {
            (admin.rest.get("/api/v1/roles").await.status == 200).then_some(())
        })
        .await;
        admin
    }

    /// Registers a user and logs in.
    pub async fn sign_up(&self, email: &str) -> Account {
        let password = "a long enough password";
        let account = json!({"email": email, "password": password, "display_name": "Test"});
        self.rest().post("/api/v1/auth/register", account).await.data();
        self.log_in(email, password).await
    }

    /// Logs a user in.
    pub async fn log_in(&self, email: &str, password: &str) -> Account {
        let credentials = json!({"email": email, "password": password});
        let tokens = self.rest().post("/api/v1/auth/login", credentials).await.data();
        let token = tokens["access_token"].as_str().expect("login answers a token");
        let rest = self.rest().with_bearer(token);
        // Until then identity answers that it is being created.
        let me = eventually("identity has heard of the account", async || {
            let reply = rest.get("/api/v1/users/me").await;
            (![404, 503].contains(&reply.status)).then(|| reply.data())
        })
        .await;
        Account {
            id: me["id"].as_str().expect("a user has an id").to_owned(),
            email: email.to_owned(),
            password: password.to_owned(),
            tokens,
            rest,
        }
    }

    /// Kills a process at once, as a crash would.
    pub fn kill(&mut self, service: &str) {
        self.process_mut(service).kill();
    }

    /// Asks a process to end and waits until it has drained; panics if it does not end in order.
    pub async fn stop(&mut self, service: &str) {
        self.process_mut(service).stop().await;
    }

    /// Asks a process to end and does not wait.
    pub fn terminate(&self, service: &str) {
        self.process(service).terminate();
    }

    /// Waits until a process has ended, and returns its exit code; `None` if a signal ended it.
    pub async fn exit_code(&mut self, service: &str) -> Option<i32> {
        self.process_mut(service).exited().await.code()
    }

    /// Starts a process that was killed or stopped, on the ports it had, and waits until it is ready
    /// and routed.
    pub async fn revive(&mut self, service: &str) {
        let process = self.process_mut(service);
        process.launch();
        process.ready().await;
        self.routed().await;
    }

    /// Stops a process in order and starts it again.
    pub async fn restart(&mut self, service: &str) {
        self.stop(service).await;
        self.revive(service).await;
    }

    /// The broker.
    pub fn bus(&self) -> Arc<dyn EventBus> {
        open_bus(self.broker.settings(), &RedisSettings::default())
            .expect("the test folder takes a broker")
    }

    /// A member of the mesh with a certificate for `identity`, for calls past the gateway.
    pub fn client(&self, identity: &str) -> MeshClient {
        self.authority.settings(identity);
        MeshClient::with_registry(self.path(), identity, self.registry.settings(), contract::pool())
            .unwrap_or_else(|error| panic!("{identity} cannot join: {error:#}"))
    }

    /// The environment variables by which a process finds the platform's services.
    pub fn registry_variables(&self) -> Vec<(String, String)> {
        self.registry.variables()
    }

    /// The ids of all processes, by their services; `None` of one that has ended. They are the same
    /// for as long as nothing was restarted.
    pub fn process_ids(&mut self) -> BTreeMap<&'static str, Option<u32>> {
        self.processes.iter_mut().map(|(service, process)| (*service, process.id())).collect()
    }

    /// What a process has logged.
    pub fn logs(&self, service: &str) -> String {
        self.process(service).log()
    }

    /// The folder in which the platform keeps everything, laid out as `cargo xtask up` lays it out.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until the gateway, if it runs, routes to every service that runs.
    async fn routed(&self) {
        if !self.runs(GATEWAY) {
            return;
        }
        for (service, path) in PROBES.into_iter().filter(|(service, _)| self.runs(service)) {
            eventually(&format!("the gateway routes to {service}"), async || {
                let status = self.rest().get(path).await.status;
                (![404, 503].contains(&status)).then_some(())
            })
            .await;
        }
    }

    fn runs(&self, service: &str) -> bool {
        self.processes.get(service).is_some_and(Process::runs)
    }

    fn prepare(
        servers: Option<&Infra>,
        variables: &[(&str, &str)],
        turn: Option<SemaphorePermit<'static>>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("the machine takes temporary folders");
        let authority = Authority::new(&folder.path().join("tls"));
        for identity in PEOPLE {
            authority.settings(identity);
        }
        let admin = json!({"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD});
        std::fs::write(folder.path().join("admin.json"), admin.to_string())
            .expect("the test folder takes a file");
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            processes: BTreeMap::new(),
            registry: TestRegistry::new(folder.path(), servers),
            variables: variables.collect(),
            broker: TestBroker::on(folder.path(), servers),
            folder,
            databases: Databases::on(servers),
            authority,
            _turn: turn,
        }
    }

    fn launch(&self, service: &'static str, binary: &str) -> Process {
        let tls = self.authority.settings(service);
        let root = self.folder.path();
        let mut variables: Vec<(String, String)> =
            vec![("MAINSTAY_DATA_DIR".into(), text(&root.join("data")))];
        variables.extend(self.broker.variables());
        variables.extend(self.registry_variables());
        if service != GATEWAY {
            let file = root.join("data").join(format!("{service}.db"));
            let database = self.databases.settings(service, &file);
            variables.push(("MAINSTAY_DATABASE__URL".into(), database.url.expose().clone()));
            variables.push(("MAINSTAY_DATABASE__SCHEMA".into(), database.schema));
        }
        for (name, file) in [("CA", tls.ca_file), ("CERT", tls.cert_file), ("KEY", tls.key_file)] {
            let file = file.expect("the authority names every file");
            variables.push((format!("MAINSTAY_TLS__{name}_FILE"), text(&file)));
        }
        if service == GATEWAY {
            // Stories look again and again until something shows.
            let rate = ("MAINSTAY_GATEWAY__RATES__SEARCH__DEFAULT", "6000/1m");
            variables.push((rate.0.to_owned(), rate.1.to_owned()));
        }
        if service == auth::SERVICE {
            let administrator = [("EMAIL", ADMIN_EMAIL), ("PASSWORD", ADMIN_PASSWORD)];
            variables.extend(administrator.map(|(name, value)| {
                (format!("MAINSTAY_AUTH__BOOTSTRAP_ADMIN_{name}"), value.to_owned())
            }));
        }
        let stated = self.variables.iter().filter(|(name, _)| concerns(name, service));
        variables.extend(stated.cloned());
        Process::launched(service, binary, root, variables)
    }

    fn process(&self, service: &str) -> &Process {
        self.processes.get(service).unwrap_or_else(|| panic!("no process {service}"))
    }

    fn process_mut(&mut self, service: &str) -> &mut Process {
        self.processes.get_mut(service).unwrap_or_else(|| panic!("no process {service}"))
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.processes.values() {
                eprintln!("{}", process.last_lines());
            }
        }
    }
}

/// Whether a variable is for a service: any that is not of another one's own table.
fn concerns(name: &str, service: &str) -> bool {
    let section = |service: &str| service.trim_end_matches("-svc").to_uppercase();
    let table = name.strip_prefix("MAINSTAY_").and_then(|key| key.split_once("__"));
    table.is_none_or(|(table, _)| {
        table == section(service) || SERVICES.iter().all(|(other, _)| table != section(other))
    })
}

fn text(path: &Path) -> String {
    path.to_str().expect("test folders are UTF-8").to_owned()
}
