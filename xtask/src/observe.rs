//! What a developer looks at: `up --observe` keeps traces and log lines and shows them on a page.
//!
//! The supervisor itself is the collector, so that nothing else has to be installed: the processes
//! send it their spans, it hears what they log anyway, and it reads their metrics. All of it is kept in
//! memory, within bounds, and is gone when the platform stops. Only this machine can reach it, and a
//! page of another site that a browser shows cannot read it.

pub(crate) mod exposition;
mod guard;
mod ids;
mod lines;
mod listener;
mod measure;
mod memory;
mod metrics;
mod page;
mod receiver;
mod routes;
#[cfg(test)]
mod samples;
mod span;
mod spans;
mod trace;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::mesh::PortOffset;
use measure::Measured;
pub(crate) use memory::Memory;

/// The port of the page, before the offset.
const PAGE_PORT: u16 = 8070;

/// The port to which processes send spans (OTLP over gRPC), before the offset.
const RECEIVER_PORT: u16 = 8071;

/// How often processes send their spans, in milliseconds: who has just made a call is looking already.
const EXPORT_INTERVAL_MS: &str = "500";

/// How long an answer may still take when everything stops.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// The collector and its page, while the platform is up.
#[derive(Debug)]
pub(crate) struct Observer {
    runtime: Runtime,
    memory: Arc<Memory>,
}

impl Observer {
    /// Listens, and begins to measure.
    pub(crate) fn start(offset: PortOffset) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("observe")
            .enable_all()
            .build()
            .context("the observer cannot be started")?;
        let (memory, measured) = (Arc::new(Memory::default()), Arc::new(Measured::default()));
        let receiver = bind(receiver_address(offset))?;
        let page = bind(page_address(offset))?;
        runtime.block_on(async {
            tokio::spawn(listener::serve(receiver, receiver::router(Arc::clone(&memory)))?);
            let router = routes::router(Arc::clone(&memory), Arc::clone(&measured));
            tokio::spawn(listener::serve(page, router)?);
            tokio::spawn(measure::run(measured, offset));
            anyhow::Ok(())
        })?;
        Ok(Self { runtime, memory })
    }

    /// Where lines and spans are kept.
    pub(crate) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    /// Ends it, after the processes whose last spans it takes.
    pub(crate) fn stop(self) {
        self.runtime.shutdown_timeout(STOP_PATIENCE);
    }
}

/// A collector alone, at a free port, until the runtime ends.
pub(crate) fn receive(runtime: &Handle) -> anyhow::Result<(Arc<Memory>, SocketAddr)> {
    let memory = Arc::new(Memory::default());
    let receiver = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = receiver.local_addr()?;
    let _entered = runtime.enter();
    runtime.spawn(listener::serve(receiver, receiver::router(Arc::clone(&memory)))?);
    Ok((memory, address))
}

/// Every port that it listens on, with what it is for.
pub(crate) fn ports(offset: PortOffset) -> [(&'static str, SocketAddr); 2] {
    [
        ("the page of --observe", page_address(offset)),
        ("the receiver of --observe", receiver_address(offset)),
    ]
}

/// Where the page is.
pub(crate) fn url(offset: PortOffset) -> String {
    format!("http://{}", page_address(offset))
}

/// The settings of a process that sends its spans here. Every trace is sampled, unless its caller says
/// otherwise.
pub(crate) fn variables(offset: PortOffset) -> [(&'static str, OsString); 3] {
    let endpoint = format!("http://{}", receiver_address(offset));
    [
        ("MAINSTAY_TELEMETRY__OTLP_ENDPOINT", endpoint.into()),
        ("MAINSTAY_TELEMETRY__TRACE_RATIO", "1".into()),
        ("OTEL_BSP_SCHEDULE_DELAY", EXPORT_INTERVAL_MS.into()),
    ]
}

fn page_address(offset: PortOffset) -> SocketAddr {
    loopback(PAGE_PORT, offset)
}

fn receiver_address(offset: PortOffset) -> SocketAddr {
    loopback(RECEIVER_PORT, offset)
}

fn loopback(port: u16, offset: PortOffset) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port + offset.get()))
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("{address} cannot be listened on"))
}
