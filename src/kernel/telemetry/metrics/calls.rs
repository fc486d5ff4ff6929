//! Metrics of gRPC calls, of what is refused, and of what fails.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use opentelemetry::trace::TraceId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use super::active::Active;
use super::exemplars::Exemplars;
use super::histogram::{Histogram, Histograms, durations};
use crate::kernel::error::{Error, ErrorClass};
use crate::kernel::grown::Grown;

/// How many status codes gRPC has, from 0 on.
const CODES: usize = 17;

/// The panics of this process. A panic hook has no handle on anything.
static PANICS: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Labels of `rpc.server.call.duration` and `rpc.client.call.duration`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    /// Always `grpc`.
    rpc_system_name: &'static str,
    /// Full name such as `mainstay.auth.v1.AuthService/Login`, or `_OTHER`.
    rpc_method: String,
    /// gRPC status code name such as `NOT_FOUND`.
    rpc_response_status_code: &'static str,
}

/// Labels of `mainstay_rejections_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabels {
    /// What refused.
    policy: &'static str,
    /// A row of our own table of error codes such as `RATE_LIMITED`, or the name of a gRPC status.
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    class: &'static str,
}

/// What refuses a call before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBy {
    /// Nothing is served at this path, or not in this way.
    Route,
    /// No token, or none that holds.
    Authentication,
    /// The member of the mesh may not call the method.
    Access,
    /// The user lacks the permission.
    Permission,
    /// The user's plan lacks the feature.
    Entitlement,
    /// Too many calls, by rate class or by address.
    Rate,
    /// The message does not keep the contract's rules.
    Validation,
    /// The request is larger or slower than is taken.
    Limit,
    /// The call was not done in time.
    Deadline,
    /// The `Idempotency-Key` is held, or was used for something else.
    Idempotency,
}

impl RefusedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Authentication => "authentication",
            Self::Access => "access",
            Self::Permission => "permission",
            Self::Entitlement => "entitlement",
            Self::Rate => "rate",
            Self::Validation => "validation",
            Self::Limit => "limit",
            Self::Deadline => "deadline",
            Self::Idempotency => "idempotency",
        }
    }
}

/// What is measured of all calls.
#[derive(Debug)]
pub(super) struct Calls {
    server: Durations,
    client: Durations,
    in_flight: Gauge,
    rejections: Family<RejectionLabels, Counter>,
    errors: Errors,
}

/// How long calls took, with the traces of some.
#[derive(Debug)]
struct Durations {
    counted: Histograms<RpcLabels>,
    /// The series of each method, by status code, in which they are found without a lock.
    series: Grown<String, Arc<[OnceLock<Histogram>; CODES]>>,
    seen: Exemplars<RpcLabels>,
}

/// The errors by class.
#[derive(Clone, Debug, Default)]
struct Errors {
    business: Counter,
    system: Counter,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            server: Durations::new(),
            client: Durations::new(),
            in_flight: Gauge::default(),
            rejections: Family::default(),
            errors: Errors::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, exemplars: &mut Registry) {
        for (name, help, calls) in [
            ("rpc_server_call_duration", "Duration of calls served", &self.server),
            ("rpc_client_call_duration", "Duration of calls made", &self.client),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, calls.counted.clone());
            calls.seen.register(name, exemplars);
        }
        registry.register(
            "mainstay_rpc_server_in_flight",
            "Calls being served, streams until their reply begins",
            self.in_flight.clone(),
        );
        registry.register(
            "mainstay_rejections",
            "Calls refused before they were made",
            self.rejections.clone(),
        );
        registry.register_collector(Box::new(self.errors.clone()));
    }

    pub(super) fn served(
        &self,
        method: &str,
        code: Code,
        elapsed: Duration,
        trace: Option<TraceId>,
    ) {
        self.server.took(method, code, elapsed, trace);
    }

    pub(super) fn made(&self, method: &str, code: Code, elapsed: Duration, trace: Option<TraceId>) {
        self.client.took(method, code, elapsed, trace);
    }

    pub(super) fn begin(&self) -> Active {
        Active::begin(&self.in_flight)
    }

    pub(super) fn rejected(&self, policy: RefusedBy, error: &Error) {
        // What comes from elsewhere may call itself anything.
        let reason = match error.code().reason {
            Cow::Borrowed(ours) => ours,
            Cow::Owned(_) => code_name(error.code().grpc),
        };
        let labels = RejectionLabels { policy: policy.as_str(), reason };
        self.rejections.get_or_create(&labels).inc();
    }

    pub(super) fn error(&self, class: ErrorClass) {
        match class {
            ErrorClass::Business => self.errors.business.inc(),
            ErrorClass::System => self.errors.system.inc(),
            // Counted where it happened.
            ErrorClass::Panic => return,
        };
    }
}

impl Durations {
    fn new() -> Self {
        Self { counted: durations(), series: Grown::default(), seen: Exemplars::new() }
    }

    fn took(&self, method: &str, code: Code, elapsed: Duration, trace: Option<TraceId>) {
        let labels = || RpcLabels::new(method, code);
        let series = self.series.get(method, Arc::default);
        let counted = || self.counted.get_or_create_owned(&labels());
        series[code as usize].get_or_init(counted).took(elapsed);
        if let Some(trace) = trace {
            self.seen.took(&labels(), elapsed, trace);
        }
    }
}

/// A panic happened in this process.
pub(in crate::kernel) fn panicked() {
    PANICS.inc();
}

impl Collector for Errors {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let help = "Errors by class: business is the caller's, system is ours, panic a defect";
        let mut errors =
            encoder.encode_descriptor("mainstay_errors", help, None, MetricType::Counter)?;
        for (class, count) in [
            (ErrorClass::Business, self.business.get()),
            (ErrorClass::System, self.system.get()),
            (ErrorClass::Panic, PANICS.get()),
        ] {
            let labels = ClassLabels { class: class.as_str() };
            errors.encode_family(&labels)?.encode_counter::<ClassLabels, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

impl RpcLabels {
    fn new(method: &str, code: Code) -> Self {
        Self {
            rpc_system_name: "grpc",
            rpc_method: method.trim_start_matches('/').to_owned(),
            rpc_response_status_code: code_name(code),
        }
    }
}

/// The name of a status code as `google.rpc.Code` spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
