//! The life of a process: start, serve, drain.
//!
//! A service writes one function from its [`Platform`] to its [`Module`]; [`run`] does the rest:
//! settings, telemetry, database and migrations, module, listeners bound, register, ready, serve.
//! On SIGTERM or SIGINT: not ready and deregister, wait for that to spread, GOAWAY and
//! `Connection: close`, finish what is in flight, stop consumers and jobs, close pools, exit; all
//! under one deadline. A second signal ends the process at once.

mod client;
mod healthcheck;
mod migrations;
mod module;
mod platform;
mod reload;
mod running;
mod signals;
mod start;
mod validate;

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

pub use client::MeshClient;
pub use module::Module;
pub use platform::Platform;
pub use running::{Drained, Running};
pub use start::start;

use crate::kernel::settings::{Args, Errand, ServiceDefaults, ServiceSettings, Settings, load};
use crate::kernel::telemetry::{self, Telemetry};
use signals::Signals;

/// How long work on blocking threads may delay the end of a process that has drained.
const BLOCKING_PATIENCE: Duration = Duration::from_secs(1);

/// Runs a service: the whole `main` of a binary.
///
/// Exit code 0 after an orderly end, 1 if it could not start, or had to cut work off.
pub fn run<T, F, Fut>(name: &'static str, port: u16, version: &'static str, module: F) -> ExitCode
where
    T: ServiceSettings,
    F: FnOnce(Platform<T>) -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Module>> + Send,
{
    let args = Args::from_command_line(name, version);
    run_with_args(&args, ServiceDefaults { name, port }, version, module)
}

/// As [`run`], with the command line read by the program, which may have options of its own.
pub fn run_with_args<T, F, Fut>(
    args: &Args,
    defaults: ServiceDefaults,
    version: &'static str,
    module: F,
) -> ExitCode
where
    T: ServiceSettings,
    F: FnOnce(Platform<T>) -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Module>> + Send,
{
    let name = defaults.name;
    let answered = || {
        let settings = load::<T>(args, defaults)?;
        if let Some(answer) = args.answer(&settings)? {
            return print(&answer);
        }
        let task = match args.errand {
            None => return serve(name, version, settings, module),
            Some(Errand::Healthcheck) => {
                return print(&healthcheck::ask(settings.kernel.admin_listen)?);
            }
            Some(Errand::Migrate) => migrations::Task::Apply,
            Some(Errand::AwaitMigrations) => migrations::Task::Await,
        };
        block_on(migrations::run(task, name, version, settings, module))
    };
    explained(name, answered())
}

/// As [`run`], with settings that the program makes itself.
pub fn run_with_settings<T, F, Fut>(
    name: &'static str,
    version: &'static str,
    settings: Settings<T>,
    module: F,
) -> ExitCode
where
    T: ServiceSettings,
    F: FnOnce(Platform<T>) -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Module>> + Send,
{
    explained(name, serve(name, version, settings, module))
}

/// The exit code, and the reason of a failure on standard error.
fn explained(name: &str, outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        // Nothing is left to be done about a standard error that is closed.
        let _ = writeln!(std::io::stderr(), "{name} cannot start: {error:#}");
        ExitCode::FAILURE
    })
}

fn serve<T, F, Fut>(
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
    block_on(live(name, version, settings, module))
}

fn block_on(life: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be made")?;
    let code = runtime.block_on(life);
    runtime.shutdown_timeout(BLOCKING_PATIENCE);
    code
}

/// Prints to standard output; a reader that has read enough, such as `head`, is no failure.
fn print(answer: &str) -> anyhow::Result<ExitCode> {
    match writeln!(std::io::stdout(), "{answer}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// From telemetry to the last span sent.
async fn live<T, F, Fut>(
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
    telemetry::log_panics();
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        running = start::launch(name, version, settings, module) => running?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let asked = tokio::select! {
        () = signals.next() => true,
        () = running.wait() => false,
    };
    if !asked {
        tracing::error!("the listener ended by itself");
    }
    let drained = tokio::select! {
        drained = running.drain() => drained,
        () = signals.next() => signals::exit_at_once(),
    };
    telemetry.flush().await;
    Ok(match (asked, drained) {
        (true, Drained::InTime) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
