//! Where the contract of the server comes from, and what keeps the table in step with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::UPSTREAM;
use crate::discovery::contract::{self, Contract};
use crate::discovery::reflection::{self, Channels};
use crate::discovery::report;
use crate::route::LiveTable;
use crate::route::compile::{Reading, compile};
use crate::route::join::Offers;

/// How often it is looked whether the contract has changed.
const INTERVAL: Duration = Duration::from_secs(10);

/// How soon the server is asked again that has not told its contract yet.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// How long the server may take to tell its contract.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the contract comes from.
pub(super) enum Source {
    /// The server itself.
    Reflection(Channels),
    /// A `google.protobuf.FileDescriptorSet`.
    File(PathBuf),
}

impl Source {
    /// A file, which must be readable now.
    pub(super) fn file(path: &Path) -> anyhow::Result<Self> {
        from_file(path)?;
        Ok(Self::File(path.to_owned()))
    }

    async fn read(&self) -> anyhow::Result<Contract> {
        match self {
            Self::File(path) => from_file(path),
            Self::Reflection(channels) => {
                let fetch = reflection::fetch(channels, UPSTREAM, "");
                tokio::time::timeout(TIMEOUT, fetch).await.context("no answer in time")?
            }
        }
    }
}

/// Keeps the table in step with the contract.
pub(super) struct Upkeep {
    source: Source,
    live: LiveTable,
    reading: Reading,
    offers: Offers,
    known: Option<Contract>,
    version: u64,
    failing: bool,
    settled: watch::Sender<bool>,
}

impl Upkeep {
    /// The receiver turns true when there are routes.
    pub(super) fn new(
        source: Source,
        live: LiveTable,
        reading: Reading,
    ) -> (Self, watch::Receiver<bool>) {
        let (settled, receiver) = watch::channel(false);
        let upkeep = Self {
            source,
            live,
            reading,
            offers: Offers::default(),
            known: None,
            version: 0,
            failing: false,
            settled,
        };
        (upkeep, receiver)
    }

    /// Looks for the contract until the shutdown.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(self.look()).await.is_some() {
            let pause = if self.known.is_some() { INTERVAL } else { FIRST_INTERVAL };
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    async fn look(&mut self) {
        let outcome = match self.source.read().await {
            Ok(contract) if self.known.as_ref() == Some(&contract) => Ok(()),
            Ok(contract) => self.adopt(contract),
            Err(fault) => Err(fault),
        };
        let failed = outcome.is_err();
        if let Err(fault) = outcome
            && !self.failing
        {
            let fault = format!("{fault:#}");
            tracing::warn!(fault, "the contract cannot be read; what was known before holds");
        }
        self.failing = failed;
    }

    fn adopt(&mut self, contract: Contract) -> anyhow::Result<()> {
        let compiled = compile(UPSTREAM, &contract.pool()?, &contract.grpc_services, &self.reading);
        self.version += 1;
        self.offers.put(UPSTREAM, compiled);
        let table = self.offers.table(self.version, BTreeSet::from([UPSTREAM.to_owned()]));
        report(&self.live.load(), &table);
        self.live.store(Arc::new(table));
        self.known = Some(contract);
        self.settled.send_replace(true);
        Ok(())
    }
}

fn from_file(path: &Path) -> anyhow::Result<Contract> {
    let shown = path.display();
    let descriptors = std::fs::read(path)
        .with_context(|| format!("the descriptor file {shown} cannot be read"))?;
    let pool = contract::pool(&descriptors).with_context(|| {
        format!("{shown} cannot be read as a FileDescriptorSet made with --include_imports")
    })?;
    let grpc_services: Vec<_> =
        pool.services().map(|service| service.full_name().to_owned()).collect();
    ensure!(!grpc_services.is_empty(), "{shown} describes no gRPC service");
    Ok(Contract { service: UPSTREAM.to_owned(), hash: String::new(), grpc_services, descriptors })
}
