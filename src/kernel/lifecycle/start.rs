//! From a module to a process that serves.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use prost_reflect::DescriptorPool;
use tokio::runtime::Handle;

use super::module::{Module, route};
use super::platform::{Kernel, Platform};
use super::running::{Running, Workers};
use super::validate::Contracts;
use crate::kernel::database::Database;
use crate::kernel::events::{self, PermissionDeclaration, Relay, declare, json_schema};
use crate::kernel::health::{Admin, admin_app, grpc_health};
use crate::kernel::jobs::{Runner, Worker, kernel_jobs};
use crate::kernel::operations::{self, Operations};
use crate::kernel::registry::{Instance, Registration};
use crate::kernel::saga;
use crate::kernel::server::{App, GrpcContext, Listener, grpc_app};
use crate::kernel::settings::{Mode, ServiceSettings, Settings, reload};
use crate::kernel::telemetry::busy;
use crate::kernel::tls::ServerTls;

/// Name of the worker that publishes the outbox.
pub(super) const RELAY: &str = "relay";

/// Starts a service within this process, as tests do: no command line, no signals, no telemetry.
pub async fn start<T, F, Fut>(
    name: &'static str,
    settings: Settings<T>,
    module: F,
) -> anyhow::Result<Running>
where
    T: ServiceSettings,
    F: FnOnce(Platform<T>) -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Module>> + Send,
{
    launch(name, env!("CARGO_PKG_VERSION"), settings, module).await
}

/// The start of a process, in order. The module states its migrations, so it is made first, on a
/// database handle that connects only when it is used.
pub(super) async fn launch<T, F, Fut>(
    name: &'static str,
    version: &'static str,
    settings: Settings<T>,
    module: F,
) -> anyhow::Result<Running>
where
    T: ServiceSettings,
    F: FnOnce(Platform<T>) -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Module>> + Send,
{
    let (kernel, mut module, contracts) = declare_module(name, version, settings, module).await?;
    kernel.bus.declare(events::topic_specs(&contracts.pool, &kernel.settings.events)?);

    prepare(&kernel, &mut module, &contracts).await?;
    let listeners = Listeners::bind(&kernel, &module).await?;
    let workers = start_workers(&kernel, &mut module, &contracts.pool)?;
    let instance = listeners.instance(&kernel, &module)?;
    let schemas = json_schema::app(contracts.pool.clone(), kernel.settings.events.clone());
    let admin = std::mem::take(&mut module.admin).merge(schemas);
    let app = app(&kernel, module, &contracts)?;
    let registration = kernel.registry.register(instance).await?;
    kernel.readiness.set_ready();
    Ok(listeners.serve(app, admin, kernel, workers, registration))
}

/// The module as the service states it, validated, beside the rooms that it was made with.
pub(super) async fn declare_module<T, F, Fut>(
    name: &'static str,
    version: &'static str,
    settings: Settings<T>,
    module: F,
) -> anyhow::Result<(Arc<Kernel>, Module, Contracts)>
where
    T: ServiceSettings,
    F: FnOnce(Platform<T>) -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Module>> + Send,
{
    let platform = Platform::new(name, version, settings).await?;
    let kernel = Arc::clone(&platform.kernel);
    let module = module(platform).await?;
    let contracts = module.validate(name)?;
    kernel.policies.get_or_init(|| Arc::clone(&contracts.policies));
    if module.needs_database() || contracts.audited {
        kernel.use_database();
    }
    Ok((kernel, module, contracts))
}

/// Everything the service needs before it may be called: tables, events, its own preparations.
async fn prepare(
    kernel: &Kernel,
    module: &mut Module,
    contracts: &Contracts,
) -> anyhow::Result<()> {
    if let Some(database) = kernel.used_database() {
        database.report_to(&kernel.metrics);
        database.declare_events(&contracts.pool)?;
        database.migrate(std::mem::take(&mut module.migrations)).await?;
        if kernel.settings.mode == Mode::Production {
            database.refuse_privileged_role().await?;
        }
        let pinged = database.clone();
        kernel.readiness.add("database", move || {
            let database = pinged.clone();
            async move { database.ping().await.map_err(|error| error.to_string()) }
        });
    }
    if let Some(redis) = &kernel.redis {
        // A moment for it to be there: the process starts in any case.
        redis.settled().await;
        let watched = redis.clone();
        kernel.readiness.add_dispensable("redis", move || {
            let is_up = watched.is_up();
            async move { if is_up { Ok(()) } else { Err("it is away".to_owned()) } }
        });
    }
    for prepare in std::mem::take(&mut module.on_start) {
        prepare.await.context("a preparation of the service failed")?;
    }
    if !module.permissions.is_empty() {
        declare_permissions(kernel, module).await.context("permissions were not declared")?;
    }
    Ok(())
}

/// Tells the platform which permissions the service brings, through the outbox.
async fn declare_permissions(kernel: &Kernel, module: &Module) -> anyhow::Result<()> {
    let permissions = module.permissions.iter().map(|permission| PermissionDeclaration {
        name: permission.name.to_string(),
        description: permission.description.to_string(),
    });
    let transaction = kernel.database.begin().await?;
    declare(&transaction, kernel.name, kernel.version, permissions.collect()).await?;
    Ok(transaction.commit().await?)
}

/// Starts what works in the background, and makes readiness watch it.
fn start_workers(
    kernel: &Kernel,
    module: &mut Module,
    pool: &DescriptorPool,
) -> anyhow::Result<Workers> {
    let workers = Workers::default();
    if let Some(database) = kernel.used_database() {
        workers.add(outage_watch(database.clone()));
        let settings = &kernel.settings.events;
        if settings.relay {
            let relay = Relay::new(database.clone(), kernel.bus.clone(), settings);
            workers.add(relay.report_to(kernel.metrics.clone()).spawn());
        } else {
            database.leave_outbox_to_capture()?;
        }
    }
    for consumer in std::mem::take(&mut module.consumers) {
        let consumer = consumer.report_to(kernel.metrics.clone());
        let consumer = consumer.listed_in(kernel.consumers.clone());
        workers.add(consumer.start(events::Start {
            service: kernel.name,
            database: kernel.used_database().cloned(),
            bus: kernel.bus.clone(),
            pool,
            settings: &kernel.settings.events,
        })?);
    }
    if let Some(database) = kernel.used_database() {
        let runner = job_runner(kernel, module, database, pool)?;
        workers.add(runner.report_to(kernel.metrics.clone()).spawn());
    }
    if let Some(verifier) = &module.verifier {
        verifier.spawn_refresh(kernel.shutdown.clone());
    }
    let consumers = kernel.consumers.clone();
    kernel.readiness.add("consumers", move || std::future::ready(consumers.check()));
    let watched = workers.clone();
    kernel.readiness.add("workers", move || {
        let dead = watched.dead();
        async move {
            if dead.is_empty() { Ok(()) } else { Err(format!("{} died", dead.join(", "))) }
        }
    });
    Ok(workers)
}

/// What knows when the database is away, so that calls need not wait to find out.
fn outage_watch(database: Database) -> Worker {
    Worker::spawn("database watch", |stop| async move {
        tokio::select! {
            () = database.watch_outages() => {}
            () = stop.cancelled() => {}
        }
    })
}

/// The runner of the kernel's jobs, the service's own and those of its sagas.
fn job_runner(
    kernel: &Kernel,
    module: &mut Module,
    database: &Database,
    pool: &DescriptorPool,
) -> anyhow::Result<Runner> {
    let settings = &kernel.settings;
    let inbox_retention = events::inbox_retention(pool, &settings.events)?;
    let jobs = kernel_jobs(database, inbox_retention, &settings.events, &settings.jobs).into_iter();
    let jobs = jobs.chain(std::mem::take(&mut module.jobs));
    let sagas = std::mem::take(&mut module.sagas).into_iter();
    let jobs = jobs.chain(sagas.map(|saga| saga::job_of(saga, database.clone())));
    let runner = Runner::new(database.clone(), jobs, &settings.jobs);
    Ok(runner.hasten_with(kernel.registry.watch(), module.dependencies.iter().copied()))
}

/// The bound addresses of the process. Who connects early waits until it serves.
struct Listeners {
    service: Listener,
    admin: Listener,
}

impl Listeners {
    async fn bind(kernel: &Kernel, module: &Module) -> anyhow::Result<Self> {
        let settings = &kernel.settings;
        let service = match module.http {
            // The edge speaks to the world, which has no certificates of the mesh.
            Some(_) => {
                let tls = module.tls.clone();
                let listener = Listener::bind(settings.listen, tls, &settings.limits).await?;
                listener.for_anyone().on_own_cores()?
            }
            None => {
                let tls = kernel.identity.clone().map(ServerTls::Mesh);
                Listener::bind(settings.listen, tls, &settings.limits).await?
            }
        };
        Ok(Self {
            service,
            admin: Listener::bind(settings.admin_listen, None, &settings.limits).await?,
        })
    }

    /// How the process appears in the registry.
    fn instance(&self, kernel: &Kernel, module: &Module) -> anyhow::Result<Instance> {
        let bound = self.service.local_addr();
        let address = match &kernel.settings.advertise {
            Some(address) => address.clone(),
            // Nobody in the mesh calls the edge.
            None if bound.ip().is_unspecified() && module.http.is_none() => bail!(
                "listen {bound} is every address of this machine and none to be reached under: \
                 set advertise to host:port"
            ),
            None => bound.to_string(),
        };
        Ok(Instance {
            id: uuid::Uuid::now_v7().to_string(),
            service: kernel.name.to_owned(),
            version: kernel.version.to_owned(),
            descriptor_hash: module.descriptor_hash(),
            admin_address: self.admin_address(&address),
            zone: kernel.settings.registry.zone.clone(),
            address,
        })
    }

    /// Where others reach the admin port: on the advertised host, if it is bound on every address.
    fn admin_address(&self, advertised: &str) -> String {
        let bound = self.admin.local_addr();
        match advertised.rsplit_once(':') {
            Some((host, _)) if bound.ip().is_unspecified() => format!("{host}:{}", bound.port()),
            _ => bound.to_string(),
        }
    }

    fn serve(
        self,
        app: App,
        admin: axum::Router,
        kernel: Arc<Kernel>,
        workers: Workers,
        registration: Box<dyn Registration>,
    ) -> Running {
        let health = grpc_health(kernel.readiness.clone(), Vec::new());
        let cores = self.service.own_runtimes();
        let busy = busy::report(kernel.metrics.clone(), cores.clone());
        tokio::spawn(kernel.shutdown.clone().run_until_cancelled_owned(busy));
        let pages = admin_app(about(&kernel, &workers, cores), admin);
        let admin = self.admin.serve(route(pages, health));
        let server = self.service.serve(app);
        tracing::info!(
            address = %server.local_addr(),
            admin_address = %admin.local_addr(),
            version = kernel.version,
            "ready"
        );
        Running { kernel, server, admin, registration, workers }
    }
}

/// What the admin port shows of the process.
fn about(kernel: &Arc<Kernel>, workers: &Workers, cores: Vec<Handle>) -> Admin {
    let (settings_of, workers) = (Arc::clone(kernel), workers.clone());
    Admin {
        readiness: kernel.readiness.clone(),
        metrics: kernel.metrics.clone(),
        settings: Arc::new(move || {
            let shown = reload::shown(&settings_of.shown_settings.load());
            shown.unwrap_or_else(|error| format!("# the settings cannot be written out: {error}\n"))
        }),
        workers: Arc::new(move || workers.states()),
        cores,
    }
}

/// What the service's listener serves: the edge's own application, or gRPC behind the policy.
fn app(kernel: &Kernel, mut module: Module, contracts: &Contracts) -> anyhow::Result<App> {
    if let Some(app) = module.http {
        return Ok(app);
    }
    let operations = contracts.pool.get_service_by_name(operations::SERVICE).is_some();
    if operations {
        module.services.push(operations::SERVICE);
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(module.descriptors);
    let reflection = module
        .services
        .iter()
        .fold(reflection, |reflection, service| reflection.with_service_name(*service))
        .build_v1()
        .context("the contracts cannot be reflected")?;
    let health = grpc_health(kernel.readiness.clone(), module.services);
    let mut services = route(route(module.grpc, reflection), health);
    if operations {
        let operations = Operations::new(
            kernel.name,
            kernel.used_database().cloned(),
            kernel.bus.clone(),
            kernel.consumers.clone(),
            &contracts.pool,
        )?;
        services = route(services, operations.into_server());
    }
    let context = GrpcContext {
        service: kernel.name.to_owned(),
        policies: Arc::clone(&contracts.policies),
        authorizer: module.authorizer,
        entitlements: module.entitlements,
        tokens: module.verifier,
        metrics: kernel.metrics.clone(),
        database: kernel.used_database().cloned(),
    };
    Ok(grpc_app(services, context).into())
}
