//! `bench platform`: what each kind of call costs each process of a platform, and how much memory they
//! take. What the chart requests for them, and allows them, is held against it.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;

use super::resources::{self, Measured};
use crate::home::Home;
use crate::platform::{Platform, Profile};
use crate::state::Stored;
use crate::upgrade::edge::Edge;
use crate::upgrade::person::Person;
use crate::{chart, compile, process, standing, status, workspace};

/// Offsets of ports that are tried.
const OFFSETS: std::ops::Range<u16> = 5_000..5_400;

/// How long what follows from a registration may take.
const ARRIVAL: Duration = Duration::from_secs(30);

/// How to measure the platform.
#[derive(Debug, Args)]
pub(super) struct PlatformArgs {
    /// Each kind of call is made for so many seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = super::at_least_one())]
    seconds: u64,
    /// By so many callers at once.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = super::at_least_one())]
    callers: u64,
    /// Measure the programs that are there already.
    #[arg(long)]
    no_build: bool,
}

/// What callers do over and over.
struct Kind {
    name: &'static str,
    round: fn(&mut Person<'_>) -> anyhow::Result<()>,
}

/// In this order, so that the hashing of passwords is the last to raise the peak of memory.
const KINDS: [Kind; 4] = [
    Kind { name: "read", round: |me| me.get("/api/v1/users/me").map(drop) },
    Kind {
        name: "write",
        round: |me| me.patch("/api/v1/users/me", &json!({"display_name": "again"})).map(drop),
    },
    Kind { name: "refresh", round: |me| me.refresh() },
    Kind { name: "login", round: |me| me.login_again() },
];

/// Does what the command line says.
pub(super) fn run(args: &PlatformArgs) -> anyhow::Result<ExitCode> {
    if !args.no_build {
        compile::run(true)?;
    }
    let values = chart::default_values(&workspace::root())?;
    let settings = resources::settings(&values)?;
    let folder = workspace::target_folder().join("bench-platform");
    let mut platform = Platform::start(&folder, OFFSETS, Profile::Release, &settings)?;
    let measured = measure(&platform, args);
    platform.stop()?;
    let measured = measured?;
    print!("{}", resources::table(&measured));
    let verdicts = resources::judge(&measured, &values)?;
    let is_met = verdicts.iter().all(|verdict| verdict.is_met);
    for verdict in verdicts {
        println!("{verdict}");
    }
    Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(platform: &Platform, args: &PlatformArgs) -> anyhow::Result<Vec<Measured>> {
    let services = processes(&platform.home)?;
    let edge = Edge::new();
    edge.lead_to(vec![platform.edge]);
    let callers: Vec<Person<'_>> =
        (0..args.callers).map(|_| arrived(&edge)).collect::<anyhow::Result<_>>()?;
    let callers = &mut { callers };
    let long = Duration::from_secs(args.seconds);

    let mut measured: Vec<Measured> = services.iter().map(|(name, _)| Measured::of(name)).collect();
    eprintln!("nobody calls");
    let before = used(&services);
    std::thread::sleep(long);
    for ((one, before), after) in measured.iter_mut().zip(before).zip(used(&services)) {
        one.idle_cores = (after - before).as_secs_f64() / long.as_secs_f64();
    }
    for Kind { name, round } in &KINDS {
        eprintln!("{} callers: {name}", args.callers);
        let before = used(&services);
        let calls = call(callers, long, *round)?;
        for ((one, before), after) in measured.iter_mut().zip(before).zip(used(&services)) {
            let idle = one.idle_cores * long.as_secs_f64();
            let seconds = ((after - before).as_secs_f64() - idle).max(0.0);
            one.seconds_per_call.push((*name, seconds / calls as f64));
        }
    }
    edge.record().require_none_failed()?;
    for (one, (_, pid)) in measured.iter_mut().zip(&services) {
        (one.resident, one.peak) = (process::resident_bytes(*pid), process::peak_bytes(*pid));
        ensure!(one.peak > 0, "{} has died under the load", one.service);
    }
    Ok(measured)
}

/// Everybody calls as fast as they are answered; how many calls that were.
fn call(
    callers: &mut [Person<'_>],
    long: Duration,
    round: fn(&mut Person<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let (calls, until) = (Arc::new(AtomicU64::new(0)), Instant::now() + long);
    std::thread::scope(|scope| {
        let working: Vec<_> = callers
            .iter_mut()
            .map(|caller| {
                let calls = Arc::clone(&calls);
                scope.spawn(move || {
                    while Instant::now() < until {
                        round(caller)?;
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for one in working {
            one.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(calls.load(Ordering::Relaxed).max(1))
}

/// Somebody new, of whom the whole platform has heard.
fn arrived(edge: &Edge) -> anyhow::Result<Person<'_>> {
    let person = Person::register(edge)?;
    let deadline = Instant::now() + ARRIVAL;
    while let Err(refused) = person.ask("/api/v1/users/me") {
        if Instant::now() > deadline {
            return Err(refused.context("a new user has not arrived"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(person)
}

/// The services with their processes.
fn processes(home: &Home) -> anyhow::Result<Vec<(&'static str, i32)>> {
    let Some(Stored::Present(state)) = standing::running(home)? else {
        anyhow::bail!("the platform does not run");
    };
    let rows = status::rows(Some(&state)).into_iter();
    rows.map(|row| {
        let pid = row.pid.with_context(|| format!("{} does not run", row.service))?;
        Ok((row.service, pid))
    })
    .collect()
}

fn used(services: &[(&'static str, i32)]) -> Vec<Duration> {
    services.iter().map(|(_, pid)| process::cpu_time(*pid)).collect()
}
