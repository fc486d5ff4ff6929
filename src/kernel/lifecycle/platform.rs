//! What the kernel hands to a service: its settings, and a handle on every room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use toml::Table;

use crate::kernel::cache::{Cache, LocalCache, RedisCache};
use crate::kernel::channel::MeshChannel;
use crate::kernel::database::Database;
use crate::kernel::events::{Consumers, EventBus, PreparedBus, open_bus};
use crate::kernel::grown::Grown;
use crate::kernel::health::Readiness;
use crate::kernel::policy::PolicyTable;
use crate::kernel::redis::Redis;
use crate::kernel::registry::{self, Registry};
use crate::kernel::settings::{
    CacheKind, KernelSettings, Origin, ServiceSettings, Settings, reload,
};
use crate::kernel::telemetry::Metrics;
use crate::kernel::tls::MeshIdentity;

/// The platform as one service sees it. Cheap to clone.
pub struct Platform<T> {
    pub(super) kernel: Arc<Kernel>,
    settings: Arc<T>,
}

/// The rooms, without the service's own settings.
pub(super) struct Kernel {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) settings: KernelSettings,
    pub(super) origin: Origin,
    /// The settings that hold, secrets redacted.
    pub(super) shown_settings: ArcSwap<Table>,
    pub(super) identity: Option<MeshIdentity>,
    pub(super) database: Database,
    pub(super) registry: Arc<dyn Registry>,
    /// The broker; its topics are declared once the module is known.
    pub(super) bus: Arc<PreparedBus>,
    pub(super) redis: Option<Redis>,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) consumers: Consumers,
    pub(super) draining: CancellationToken,
    pub(super) shutdown: CancellationToken,
    /// The policies of the contracts, known once the module is: channels are made before.
    pub(super) policies: Arc<OnceLock<Arc<PolicyTable>>>,
    channels: Grown<String, MeshChannel>,
    cache: OnceLock<Arc<dyn Cache>>,
    database_used: AtomicBool,
}

impl Kernel {
    async fn new(
        name: &'static str,
        version: &'static str,
        settings: KernelSettings,
        origin: Origin,
        shown_settings: Table,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::new(name, version);
        let readiness = Readiness::default();
        let shutdown = CancellationToken::new();
        let identity = MeshIdentity::load(&settings.tls)?;
        if let Some(identity) = &identity {
            identity.spawn_reload(metrics.clone(), shutdown.clone());
        }
        Ok(Self {
            name,
            version,
            origin,
            shown_settings: ArcSwap::from_pointee(shown_settings),
            identity,
            database: Database::open(name, &settings.database)?,
            registry: registry::open(&settings.registry, &readiness).await?,
            bus: Arc::new(PreparedBus::new(open_bus(&settings.events, &settings.redis)?)),
            redis: Redis::open(&settings.redis, metrics.clone())?,
            cache: OnceLock::new(),
            metrics,
            readiness,
            consumers: Consumers::default(),
            draining: CancellationToken::new(),
            shutdown,
            policies: Arc::default(),
            channels: Grown::default(),
            database_used: AtomicBool::new(false),
            settings,
        })
    }

    /// The database, if the service has asked for it.
    pub(super) fn used_database(&self) -> Option<&Database> {
        self.database_used.load(Ordering::Relaxed).then_some(&self.database)
    }

    /// The database is needed whether or not the service asks for it.
    pub(super) fn use_database(&self) {
        self.database_used.store(true, Ordering::Relaxed);
    }

    fn cache(&self) -> Arc<dyn Cache> {
        let settings = &self.settings.cache;
        let cache = self.cache.get_or_init(|| match (settings.kind, &self.redis) {
            (CacheKind::Redis, Some(redis)) => RedisCache::shared(redis.clone(), settings),
            _ => LocalCache::shared(settings.max_bytes),
        });
        Arc::clone(cache)
    }

    fn channel(&self, service: &str) -> MeshChannel {
        self.channels.get(service, || self.new_channel(service))
    }

    fn new_channel(&self, service: &str) -> MeshChannel {
        let (identity, registry) = (self.identity.as_ref(), &*self.registry);
        MeshChannel::new(service, identity, registry, &self.settings.channel)
            .unwrap_or_else(|error| panic!("`{service}` is no name of a service: {error:#}"))
            .with_policies_later(Arc::clone(&self.policies))
            .with_metrics(self.metrics.clone())
    }
}

impl<T: ServiceSettings> Platform<T> {
    pub(super) async fn new(
        name: &'static str,
        version: &'static str,
        settings: Settings<T>,
    ) -> anyhow::Result<Self> {
        let shown = reload::table(&settings.kernel, &settings.own)?;
        let kernel = Kernel::new(name, version, settings.kernel, settings.origin, shown).await?;
        Ok(Self { kernel: Arc::new(kernel), settings: Arc::new(settings.own) })
    }
}

impl<T> Platform<T> {
    /// Name of the service, such as `identity-svc`.
    pub fn name(&self) -> &str {
        self.kernel.name
    }

    /// The service's own settings.
    pub fn settings(&self) -> &T {
        &self.settings
    }

    /// The kernel's settings.
    pub fn kernel_settings(&self) -> &KernelSettings {
        &self.kernel.settings
    }

    /// The service's database. It connects when first used; a process that never asks has none.
    pub fn database(&self) -> Database {
        self.kernel.use_database();
        self.kernel.database.clone()
    }

    /// The channel to another service, one for the whole process. The module states that it
    /// [depends on](super::Module::depends_on) the service.
    pub fn channel(&self, service: &str) -> MeshChannel {
        self.kernel.channel(service)
    }

    /// Which instances of which services there are.
    pub fn registry(&self) -> Arc<dyn Registry> {
        Arc::clone(&self.kernel.registry)
    }

    /// The broker, for those who need more than a consumer.
    pub fn bus(&self) -> Arc<dyn EventBus> {
        self.kernel.bus.clone()
    }

    /// The memory that all processes share; `None` if the settings name none.
    pub fn redis(&self) -> Option<Redis> {
        self.kernel.redis.clone()
    }

    /// The cache, one for the whole process: its own memory, or the one that all share.
    pub fn cache(&self) -> Arc<dyn Cache> {
        self.kernel.cache()
    }

    /// The metrics of the process.
    pub fn metrics(&self) -> Metrics {
        self.kernel.metrics.clone()
    }

    /// What must hold for the process to take traffic.
    pub fn readiness(&self) -> Readiness {
        self.kernel.readiness.clone()
    }

    /// Cancelled when calls in flight are to come to their end: replies that would stream on end now,
    /// for their readers to go elsewhere.
    pub fn draining(&self) -> CancellationToken {
        self.kernel.draining.clone()
    }

    /// Cancelled when calls in flight are finished and background work is to stop.
    pub fn shutdown(&self) -> CancellationToken {
        self.kernel.shutdown.clone()
    }
}

impl<T> Clone for Platform<T> {
    fn clone(&self) -> Self {
        Self { kernel: Arc::clone(&self.kernel), settings: Arc::clone(&self.settings) }
    }
}
