//! Metrics of what a process holds: connections, certificates, leases, threads, and the instances it calls.
//! What has a state rather than a history is asked when somebody reads the page.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Histogram;

/// Labels of `mainstay_certificate_not_after_seconds` and `mainstay_certificate_refused`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    /// `mesh`: that of this process among the others. `mesh-authority`: that of who signed it. `edge`:
    /// the one that the gateway shows to the world.
    certificate: &'static str,
}

/// Labels of `mainstay_lease_epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeaseLabels {
    /// Name of the job.
    lease: String,
}

/// Labels of `db.client.connection.count`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    /// `idle` or `used`.
    db_client_connection_state: &'static str,
}

/// Labels of `mainstay_endpoints`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    /// The service whose instances they are.
    service: String,
    /// `ready`: takes calls. `trial`: was left out, and one call tries whether it may again. `ejected`:
    /// is left out.
    state: &'static str,
}

/// The connections of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Open and waiting to be used.
    pub idle: u64,
    /// In use.
    pub used: u64,
}

/// How many instances of a service are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointStates {
    /// Take calls.
    pub ready: u64,
    /// Were left out, and are being tried.
    pub trial: u64,
    /// Are left out.
    pub ejected: u64,
}

/// What is measured of all that a process holds.
#[derive(Debug)]
pub(super) struct Resources {
    asked: Arc<Asked>,
    connection_wait: Histogram,
    certificates: Family<CertificateLabels, Gauge>,
    refused: Family<CertificateLabels, Gauge>,
    lease_epoch: Family<LeaseLabels, Gauge>,
    runtime_busy: Gauge<f64, AtomicU64>,
}

/// Who is asked when the page is read.
#[derive(Default)]
struct Asked {
    pool: Mutex<Option<Box<dyn Fn() -> PoolState + Send + Sync>>>,
    endpoints: Mutex<BTreeMap<String, Ask>>,
}

type Ask = Box<dyn Fn() -> EndpointStates + Send + Sync>;

impl Resources {
    pub(super) fn new() -> Self {
        Self {
            asked: Arc::default(),
            connection_wait: Histogram::of_durations(),
            certificates: Family::default(),
            refused: Family::default(),
            lease_epoch: Family::default(),
            runtime_busy: Gauge::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Arc::clone(&self.asked)));
        registry.register_with_unit(
            "db_client_connection_wait_time",
            "How long transactions waited for their turn, their connection and to begin on it",
            Unit::Seconds,
            self.connection_wait.clone(),
        );
        registry.register_with_unit(
            "mainstay_certificate_not_after",
            "When a certificate ends, in Unix time",
            Unit::Seconds,
            self.certificates.clone(),
        );
        registry.register(
            "mainstay_certificate_refused",
            "1 while the files of a certificate hold one that does not fit and is not used",
            self.refused.clone(),
        );
        registry.register(
            "mainstay_lease_epoch",
            "How often the job that this process last ran under the name had been claimed",
            self.lease_epoch.clone(),
        );
        registry.register_with_unit(
            "mainstay_runtime_busy",
            "The part of the last seconds in which the threads of the busiest runtime were at work",
            Unit::Other("ratio".to_owned()),
            self.runtime_busy.clone(),
        );
    }

    pub(super) fn pool(&self, ask: impl Fn() -> PoolState + Send + Sync + 'static) {
        *self.asked.pool.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(ask));
    }

    pub(super) fn endpoints(
        &self,
        service: &str,
        ask: impl Fn() -> EndpointStates + Send + Sync + 'static,
    ) {
        let mut endpoints = self.asked.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.insert(service.to_owned(), Box::new(ask));
    }

    pub(super) fn connection_wait(&self, waited: Duration) {
        self.connection_wait.took(waited);
    }

    pub(super) fn certificate(&self, certificate: &'static str, not_after: i64) {
        self.certificates.get_or_create(&CertificateLabels { certificate }).set(not_after);
    }

    pub(super) fn certificate_refused(&self, certificate: &'static str, refused: bool) {
        self.refused.get_or_create(&CertificateLabels { certificate }).set(i64::from(refused));
    }

    pub(super) fn lease_epoch(&self, lease: &str, epoch: i64) {
        self.lease_epoch.get_or_create(&LeaseLabels { lease: lease.to_owned() }).set(epoch);
    }

    pub(super) fn runtime_busy(&self, ratio: f64) {
        self.runtime_busy.set(ratio);
    }
}

impl Collector for Asked {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        if let Some(pool) = &*self.pool.lock().unwrap_or_else(PoisonError::into_inner) {
            let help = "Connections to the database, by state";
            let name = "db_client_connection_count";
            let mut shown = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            let PoolState { idle, used } = pool();
            for (db_client_connection_state, count) in [("idle", idle), ("used", used)] {
                let labels = ConnectionLabels { db_client_connection_state };
                shown.encode_family(&labels)?.encode_gauge(&count)?;
            }
        }
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoints.is_empty() {
            return Ok(());
        }
        let help = "Instances of the services that this process calls, by state";
        let mut shown =
            encoder.encode_descriptor("mainstay_endpoints", help, None, MetricType::Gauge)?;
        for (service, ask) in &*endpoints {
            let EndpointStates { ready, trial, ejected } = ask();
            for (state, count) in [("ready", ready), ("trial", trial), ("ejected", ejected)] {
                let labels = EndpointLabels { service: service.clone(), state };
                shown.encode_family(&labels)?.encode_gauge(&count)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Asked")
    }
}
