//! The edge: what a call costs the gateway, beside its peers, on one backend and in one run.
//!
//! | file | what it holds |
//! |---|---|
//! | `cases`, `messages` | what is called, and what must come of it |
//! | `backend` | the server behind every gateway, and their collector of traces |
//! | `load`, `pace` | the load, and when its requests are due |
//! | `contender` | the gateway and its peers as processes |
//! | `identity` | the key and the token of the calls |
//! | `peers` | how peers are installed |
//! | `measure`, `table` | the rounds, and what came of them |

mod backend;
mod cases;
mod contender;
mod identity;
mod load;
mod measure;
mod messages;
mod pace;
mod peers;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use backend::Backend;
use cases::Case;
use contender::{Contender, Kind, Site};
use identity::Identity;

/// What is measured, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gateway.
    #[arg(long, value_name = "FILE")]
    gateway: PathBuf,
    /// Where the peers are, or are installed.
    #[arg(long, value_name = "DIR")]
    peers: PathBuf,
    /// Install the peers that are missing: takes Go, cargo and some minutes.
    #[arg(long)]
    install_peers: bool,
    /// Measure without the peers.
    #[arg(long)]
    no_peers: bool,
    /// So many rounds; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Each contender is measured so many seconds for each case of a round.
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    seconds: f64,
    /// Only these cases: get, create, tree, list, stream.
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    cases: Vec<String>,
}

/// Does what the command line says, and prints the table.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let cases: Vec<Case> = Case::ALL
        .into_iter()
        .filter(|case| args.cases.is_empty() || args.cases.iter().any(|name| name == case.name()))
        .collect();
    ensure!(!cases.is_empty(), "no such case: get, create, tree, list, stream");
    let folder = args.peers.join("run");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    let descriptors = folder.join("edge.pb");
    std::fs::write(&descriptors, contract()?)?;
    if args.install_peers {
        peers::install(&args.peers, &contract()?)?;
    }
    let identity = Identity::make(&folder)?;
    let backend = Backend::start().await?;
    let site = Site {
        backend: backend.address,
        gateway: &args.gateway,
        peers: &args.peers,
        folder: &folder,
        descriptors: &descriptors,
        identity: &identity,
    };
    let contenders = start(&site, args.no_peers).await?;
    let time = Duration::from_secs_f64(args.seconds);
    let figures = measure::rounds(&contenders, &cases, args.rounds, time).await?;
    let half = match figures.get(&(Case::Get, Kind::MainstayOn)) {
        Some(cell) => measure::half_load(&backend, &contenders, *cell, args.rounds, time).await?,
        None => BTreeMap::new(),
    };
    ensure!(backend.wrong() == 0, "{} requests reached the backend changed", backend.wrong());
    ensure!(backend.exports() > 0, "no traces reached the collector");
    println!("{}", table::text(&figures, &cases, &half));
    Ok(())
}

/// All that can be started; a peer that is missing is named.
async fn start(site: &Site<'_>, no_peers: bool) -> anyhow::Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for kind in Kind::ALL {
        if kind.is_own() {
            contenders.push(Contender::start(kind, site).await?);
        } else if !no_peers {
            match site.binary(kind) {
                Ok(_) => contenders.push(Contender::start(kind, site).await?),
                Err(missing) => eprintln!("left out: {missing}"),
            }
        }
    }
    Ok(contenders)
}

/// The contract of the benchmark, as a descriptor set with imports.
fn contract() -> anyhow::Result<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root.join("proto"), root.join("../proto")])?;
    compiler.include_imports(true).open_file("edge/v1/edge.proto")?;
    Ok(compiler.encode_file_descriptor_set())
}
