//! `migrate` and `await-migrations`: the migrations of a service without the service, for those who
//! want them done before any replica starts.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::module::Module;
use super::platform::Platform;
use super::signals::Signals;
use super::start::declare_module;
use crate::kernel::database::Database;
use crate::kernel::settings::{Mode, ServiceSettings, Settings};
use crate::kernel::telemetry::Telemetry;

/// How often it is looked whether somebody has migrated.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often it is told what is waited for, in looks.
const TELL_EVERY: usize = 10;

/// What is to be done about the migrations that are pending.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// Apply them, as the start of the service would.
    Apply,
    /// Wait until nothing is pending, for as long as it takes: whoever asked for it has a deadline.
    Await,
}

/// Does it; a signal ends it.
pub(super) async fn run<T, F, Fut>(
    task: Task,
    name: &'static str,
    version: &'static str,
    settings: Settings<T>,
    module: F,
) -> anyhow::Result<ExitCode>
where
    T: ServiceSettings,
    F: FnOnce(Platform<T>) -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Module>> + Send,
{
    let telemetry = Telemetry::init(name, version, &settings.kernel.telemetry)?;
    let mut signals = Signals::listen()?;
    let done = async {
        let (kernel, module, _) = declare_module(name, version, settings, module).await?;
        let database = kernel
            .used_database()
            .with_context(|| format!("{name} has no database and no migrations"))?;
        match task {
            Task::Apply => apply(database, module, kernel.settings.mode).await?,
            Task::Await => wait(database, &module).await,
        }
        tracing::info!("every migration is applied");
        Ok(ExitCode::SUCCESS)
    };
    let code = tokio::select! {
        code = done => code,
        () = signals.next() => Ok(ExitCode::FAILURE),
    };
    telemetry.flush().await;
    code
}

async fn apply(database: &Database, module: Module, mode: Mode) -> anyhow::Result<()> {
    database.connect().await?;
    // Before anything is made that would belong to it.
    if mode == Mode::Production {
        database.refuse_privileged_role().await?;
    }
    database.migrate(module.migrations).await
}

async fn wait(database: &Database, module: &Module) {
    for look in 0.. {
        let waits_for = match database.pending(&module.migrations).await {
            Ok(None) => return,
            Ok(Some(migration)) => format!("migration {migration}"),
            Err(error) => format!("the database: {error:#}"),
        };
        if look % TELL_EVERY == 0 {
            tracing::info!(waits_for, "waiting for migrations");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
