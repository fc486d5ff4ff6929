//! Services in process: a folder with an authority, a registry, a broker and one database for each
//! service, all of which go away with the test.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mainstay::contract;
use mainstay::kernel::channel::MeshChannel;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::{
    Event, EventBus, PreparedBus, Relay, declared_topics, open_bus, topic_specs,
};
use mainstay::kernel::health::Readiness;
use mainstay::kernel::jobs::Worker;
use mainstay::kernel::lifecycle::{self, Module, Platform, Running};
use mainstay::kernel::policy::PolicyTable;
use mainstay::kernel::registry::{self, DirectoryRegistry, DirectoryTiming, Registry};
use mainstay::kernel::settings::{
    ChannelSettings, DatabaseSettings, EventSettings, JobSettings, KernelSettings,
    LifecycleSettings, LogFormat, Origin, RedisSettings, RegistryKind, RegistrySettings,
    ServiceSettings, Settings, TelemetrySettings,
};
use mainstay::kernel::telemetry::Telemetry;
use mainstay::kernel::tls::MeshIdentity;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::broker::TestBroker;
use crate::certificates::Authority;
use crate::databases::Databases;
use crate::infra::infra;
use crate::registry::TestRegistry;

/// How long a process in a test still accepts calls when it drains: the registry of a test is read
/// every few milliseconds.
const SPREAD: Duration = Duration::from_millis(100);

/// How often the registry and the broker of a test are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often the queues of jobs of a test are looked at.
const JOB_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The environment variable that makes tests log.
const LOG_VARIABLE: &str = "MAINSTAY_TEST_LOG";

/// Who publishes what [`TestMesh::publish`] is given.
const PUBLISHER: &str = "test-publisher";

/// A mesh for one test. Services started in it find each other, over mTLS on free ports.
pub struct TestMesh {
    broker: TestBroker,
    folder: TempDir,
    databases: Databases,
    authority: Mutex<Authority>,
    registry_of_test: TestRegistry,
    registry: OnceLock<Arc<dyn Registry>>,
    bus: OnceLock<Arc<PreparedBus>>,
    publisher: OnceCell<(Database, Worker)>,
}

impl TestMesh {
    /// An empty mesh.
    #[allow(clippy::new_without_default, reason = "it makes a folder: not what a default does")]
    pub fn new() -> Self {
        Self::in_folder(|folder| TestRegistry::new(folder, infra()))
    }

    /// An empty mesh that finds its services by a registry of the test's own.
    pub fn with_registry(settings: RegistrySettings) -> Self {
        Self::in_folder(|_| TestRegistry::of(settings))
    }

    fn in_folder(registry: impl FnOnce(&Path) -> TestRegistry) -> Self {
        install_telemetry();
        let folder = tempfile::tempdir().expect("the machine takes temporary folders");
        let authority = Mutex::new(Authority::new(&folder.path().join("tls")));
        Self {
            broker: TestBroker::new(folder.path()),
            registry_of_test: registry(folder.path()),
            folder,
            databases: Databases::new(),
            authority,
            registry: OnceLock::new(),
            bus: OnceLock::new(),
            publisher: OnceCell::new(),
        }
    }

    /// The settings of a service of this mesh: a free port, a certificate of its own, everything
    /// else in the folder.
    pub fn settings<T: ServiceSettings>(&self, service: &str, own: T) -> Settings<T> {
        let kernel = KernelSettings {
            data_dir: self.path().join("data"),
            database: self.database_settings(service),
            registry: self.registry_of_test.settings().clone(),
            events: self.event_settings(),
            jobs: JobSettings { poll_interval: JOB_POLL_INTERVAL, ..JobSettings::default() },
            tls: self.authority().settings(service),
            lifecycle: LifecycleSettings { spread: SPREAD, ..LifecycleSettings::default() },
            ..KernelSettings::default()
        };
        Settings { kernel, own, origin: Origin::default() }
    }

    /// The environment variables with which a process of a service joins the mesh.
    ///
    /// # Panics
    /// If the test folder's name is not UTF-8.
    pub fn variables(&self, service: &str) -> Vec<(String, String)> {
        let tls = self.authority().settings(service);
        let files = [("CA", tls.ca_file), ("CERT", tls.cert_file), ("KEY", tls.key_file)];
        let mut variables = self.registry_of_test.variables();
        variables.extend(files.into_iter().map(|(name, file)| {
            let file = file.expect("the authority names every file");
            let file = file.to_str().expect("test folders are UTF-8").to_owned();
            (format!("MAINSTAY_TLS__{name}_FILE"), file)
        }));
        variables
    }

    /// Starts a service in this process.
    ///
    /// # Panics
    /// If it refuses to start.
    pub async fn start<T, F, Fut>(&self, service: &'static str, own: T, module: F) -> Running
    where
        T: ServiceSettings,
        F: FnOnce(Platform<T>) -> Fut + Send,
        Fut: Future<Output = anyhow::Result<Module>> + Send,
    {
        lifecycle::start(service, self.settings(service, own), module)
            .await
            .unwrap_or_else(|error| panic!("{service} does not start: {error:#}"))
    }

    /// A channel to a service, for a caller with a certificate for `identity`.
    pub fn channel(&self, identity: &str, service: &str) -> MeshChannel {
        self.channel_with(identity, service, &ChannelSettings::default())
    }

    /// As [`TestMesh::channel`], with settings such as the transport.
    pub fn channel_with(
        &self,
        identity: &str,
        service: &str,
        settings: &ChannelSettings,
    ) -> MeshChannel {
        let tls = self.authority().settings(identity);
        let identity = MeshIdentity::load(&tls).expect("the authority makes sound certificates");
        let policies = PolicyTable::compile(contract::pool()).expect("the build checked them");
        MeshChannel::new(service, identity.as_ref(), &**self.registry(), settings)
            .expect("sound settings")
            .with_policies(Arc::new(policies))
    }

    /// Which instances of which services there are.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        self.registry.get_or_init(|| open_registry(self.registry_of_test.settings()))
    }

    /// The broker.
    pub fn bus(&self) -> Arc<dyn EventBus> {
        self.prepared_bus().clone()
    }

    /// Publishes an event as if another service had.
    pub async fn publish<E: Event>(&self, event: &E) {
        let (database, _relay) = self.publisher.get_or_init(|| self.start_publisher()).await;
        let transaction = database.begin().await.expect("the publisher's database is there");
        transaction.publish(event).await.expect("the event is declared");
        transaction.commit().await.expect("the publisher's database takes rows");
    }

    /// All events of a type that were published so far, oldest first.
    pub async fn events<E: Event>(&self) -> Vec<E> {
        let topics = declared_topics(contract::pool());
        let envelopes = self.prepared_bus().retained(&topics).await.expect("the broker is there");
        envelopes
            .into_iter()
            .filter(|envelope| envelope.r#type == E::full_name())
            .map(|envelope| E::decode(&*envelope.data).expect("the payload is of its type"))
            .collect()
    }

    /// The settings of a service's database, for those who look into it behind the service's back.
    pub fn database_settings(&self, service: &str) -> DatabaseSettings {
        let file = self.path().join("data").join(format!("{service}.db"));
        self.databases.settings(service, &file)
    }

    /// The folder in which the mesh keeps everything.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn start_publisher(&self) -> (Database, Worker) {
        let database = Database::open(PUBLISHER, &self.database_settings(PUBLISHER))
            .expect("the test folder takes a database");
        database.declare_events(contract::pool()).expect("the build checked them");
        database.migrate(Vec::new()).await.expect("the kernel's tables can be made");
        let relay = Relay::new(database.clone(), self.bus(), &self.event_settings()).spawn();
        (database, relay)
    }

    fn prepared_bus(&self) -> &Arc<PreparedBus> {
        self.bus.get_or_init(|| {
            let settings = self.event_settings();
            let bus = PreparedBus::new(
                open_bus(&settings, &RedisSettings::default()).expect("the settings name a broker"),
            );
            bus.declare(topic_specs(contract::pool(), &settings).expect("the build checked them"));
            Arc::new(bus)
        })
    }

    fn event_settings(&self) -> EventSettings {
        EventSettings { poll_interval: POLL_INTERVAL, ..self.broker.settings().clone() }
    }

    fn authority(&self) -> std::sync::MutexGuard<'_, Authority> {
        self.authority.lock().expect("no test panics while it issues a certificate")
    }
}

/// Opens a registry without waiting for it, for callers that cannot.
fn open_registry(settings: &RegistrySettings) -> Arc<dyn Registry> {
    match settings.kind {
        RegistryKind::Directory => {
            let timing = DirectoryTiming { poll: POLL_INTERVAL, ..DirectoryTiming::default() };
            let registry = DirectoryRegistry::open(&settings.path, timing);
            Arc::new(registry.expect("the test folder takes a registry"))
        }
        _ => registry::start(settings, &Readiness::default())
            .unwrap_or_else(|error| panic!("the registry of the test cannot be used: {error:#}")),
    }
}

/// Traces as a real process does, so that trace ids travel; logs only what `MAINSTAY_TEST_LOG` asks
/// for, a filter such as `debug`.
fn install_telemetry() {
    static TELEMETRY: OnceLock<Option<Telemetry>> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let settings = TelemetrySettings {
            log_format: LogFormat::Text,
            log_filter: std::env::var(LOG_VARIABLE).unwrap_or_else(|_| "off".to_owned()),
            ..TelemetrySettings::default()
        };
        // A test that has installed its own is left with it.
        Telemetry::init("test", env!("CARGO_PKG_VERSION"), &settings).ok()
    });
}
