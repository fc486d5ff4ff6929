//! The settings that every process has: effect, unit and default of each.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kafka::KafkaSettings;
use super::redis::{CacheSettings, RedisSettings};
use super::registry::RegistrySettings;
use super::secret::Secret;

/// The kernel's settings: the keys at the top of the settings file, and its tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KernelSettings {
    /// `production` refuses what is convenient and unsafe, such as a database role that may do
    /// everything. Default: `development`.
    pub mode: Mode,
    /// Address the service listens on; port 0 takes a free one. Default: 127.0.0.1 and the port of
    /// the service.
    pub listen: SocketAddr,
    /// Address of health, readiness and metrics; port 0 takes a free one. Default: 127.0.0.1 and
    /// the port of the service + 10000.
    pub admin_listen: SocketAddr,
    /// `host:port` under which others reach this process. Default: the address it listens on.
    pub advertise: Option<String>,
    /// Folder for what the process keeps. Default: `.mainstay/data`.
    pub data_dir: PathBuf,
    /// `[database]`
    pub database: DatabaseSettings,
    /// `[registry]`
    pub registry: RegistrySettings,
    /// `[redis]`
    pub redis: RedisSettings,
    /// `[cache]`
    pub cache: CacheSettings,
    /// `[events]`
    pub events: EventSettings,
    /// `[jobs]`
    pub jobs: JobSettings,
    /// `[tls]`
    pub tls: TlsSettings,
    /// `[telemetry]`
    pub telemetry: TelemetrySettings,
    /// `[channel]`
    pub channel: ChannelSettings,
    /// `[lifecycle]`
    pub lifecycle: LifecycleSettings,
    /// `[limits]`
    pub limits: ServerLimits,
}

impl Default for KernelSettings {
    fn default() -> Self {
        let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            mode: Mode::Development,
            listen: free_port,
            admin_listen: free_port,
            advertise: None,
            data_dir: PathBuf::from(".mainstay/data"),
            database: DatabaseSettings::default(),
            registry: RegistrySettings::default(),
            redis: RedisSettings::default(),
            cache: CacheSettings::default(),
            events: EventSettings::default(),
            jobs: JobSettings::default(),
            tls: TlsSettings::default(),
            telemetry: TelemetrySettings::default(),
            channel: ChannelSettings::default(),
            lifecycle: LifecycleSettings::default(),
            limits: ServerLimits::default(),
        }
    }
}

/// Where the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// On the machine of a developer, or in a test.
    Development,
    /// Where it serves people: what is unsafe is refused at the start.
    Production,
}

/// The database of the service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseSettings {
    /// Where the database is: `sqlite://FILE?mode=rwc`, or
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, which takes `sslmode`, `sslrootcert`,
    /// `sslcert` and `sslkey` as parameters. Default:
    /// `sqlite://{data_dir}/{service}.db?mode=rwc`.
    pub url: Secret<String>,
    /// Schema of the service in a PostgreSQL database; of no meaning to SQLite. Default: the name of
    /// the service without `-svc`, such as `identity`.
    pub schema: String,
    /// The most connections kept open at once; events and jobs hold half of them at most. Default: 10.
    pub max_connections: u32,
    /// How long a call waits for a free connection before it is refused. Default: 3 s.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// The longest a statement may run on PostgreSQL. Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// The longest a statement may wait for a lock on PostgreSQL. Default: 5 s.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// How long a transaction may lie idle on PostgreSQL before the server ends it, so that a process
    /// that hangs keeps no locks. Default: 60 s.
    #[serde(with = "humantime_serde")]
    pub idle_in_transaction_timeout: Duration,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            schema: String::new(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(60),
        }
    }
}

/// How events travel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventSettings {
    /// Which broker. Default: `embedded`.
    pub kind: EventKind,
    /// File of the broker `embedded`; the same for every process. Default: `.mainstay/broker.db`.
    pub path: PathBuf,
    /// How often the broker `embedded` is looked at for what other processes have published.
    /// Default: 50 ms.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How often the outbox is looked at when nothing wakes the relay. A commit in this process
    /// does, and on PostgreSQL one in another. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub outbox_interval: Duration,
    /// Whether the relay publishes the outbox, the same for all replicas of a service. `false` where
    /// change data capture carries the rows to the broker, which takes PostgreSQL. Default: `true`.
    pub relay: bool,
    /// With `relay = false`: how long rows stay in the outbox, for a capture that begins anew with a
    /// snapshot of the table. Default: 1 day.
    #[serde(with = "humantime_serde")]
    pub outbox_retention: Duration,
    /// How long events are kept whose contract states nothing, and at least half as long as
    /// consumers remember what they handled. Default: 7 days.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How long events that could not be handled are kept. Default: 30 days.
    #[serde(with = "humantime_serde")]
    pub dead_letter_retention: Duration,
    /// How often an event is tried before it goes to the dead letters. Default: 8.
    pub max_attempts: u32,
    /// Wait before the second attempt; doubles with each further one. Default: 100 ms.
    #[serde(with = "humantime_serde")]
    pub retry_backoff: Duration,
    /// The longest wait between two attempts. Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub max_retry_backoff: Duration,
    /// What the names of topics and consumer groups begin with on a broker that others use too, such
    /// as `staging.`. Default: nothing.
    pub topic_prefix: String,
    /// `[events.kafka]`
    pub kafka: KafkaSettings,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            kind: EventKind::Embedded,
            path: PathBuf::from(".mainstay/broker.db"),
            poll_interval: Duration::from_millis(50),
            outbox_interval: Duration::from_secs(1),
            relay: true,
            outbox_retention: Duration::from_secs(24 * 60 * 60),
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            dead_letter_retention: Duration::from_secs(30 * 24 * 60 * 60),
            max_attempts: 8,
            retry_backoff: Duration::from_millis(100),
            max_retry_backoff: Duration::from_secs(30),
            topic_prefix: String::new(),
            kafka: KafkaSettings::default(),
        }
    }
}

/// The brokers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A durable log in one SQLite file that the processes of one machine share.
    Embedded,
    /// Apache Kafka.
    Kafka,
    /// Streams in the Redis of `redis.url`, for installations with no Kafka.
    RedisStreams,
}

/// How durable jobs run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobSettings {
    /// How many jobs run at once in one process. Default: 8.
    pub concurrency: usize,
    /// How often the queue is looked at when nothing wakes it: so late begins what another process
    /// enqueued. Default: 500 ms.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How long a claim on a job holds unless prolonged, which happens three times as often: so long
    /// waits a job whose process died. The clocks of replicas may differ by two thirds of it.
    /// Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How often a job is tried before it has failed for good, where the job does not say. Default:
    /// 10.
    pub max_attempts: u32,
    /// Wait before the second attempt; doubles with each further one. Default: 200 ms.
    #[serde(with = "humantime_serde")]
    pub retry_backoff: Duration,
    /// The longest wait between two attempts. Default: 1 min.
    #[serde(with = "humantime_serde")]
    pub max_retry_backoff: Duration,
    /// How long a draining process waits for running jobs before it gives them back; a part of
    /// `lifecycle.drain_deadline`. Default: 5 s.
    #[serde(with = "humantime_serde")]
    pub stop_patience: Duration,
    /// How long it is remembered that a job ran. Default: 7 days.
    #[serde(with = "humantime_serde")]
    pub history_retention: Duration,
    /// How many runs are remembered, about. Default: 10000.
    pub history_limit: u64,
    /// How long the step of a saga may fail before the saga counts as stuck. Default: 10 min.
    #[serde(with = "humantime_serde")]
    pub stuck_after: Duration,
    /// How long jobs that have failed for good, and sagas that have finished, are kept. Default: 30
    /// days.
    #[serde(with = "humantime_serde")]
    pub failed_retention: Duration,
}

impl Default for JobSettings {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        Self {
            concurrency: 8,
            poll_interval: Duration::from_millis(500),
            lease: Duration::from_secs(30),
            max_attempts: 10,
            retry_backoff: Duration::from_millis(200),
            max_retry_backoff: Duration::from_secs(60),
            stop_patience: Duration::from_secs(5),
            history_retention: days(7),
            history_limit: 10_000,
            stuck_after: Duration::from_secs(10 * 60),
            failed_retention: days(30),
        }
    }
}

/// How the members of the mesh prove who they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// `mtls` or `plaintext`. Default: `mtls`.
    pub mode: TlsMode,
    /// PEM file with the certificates of the mesh's authorities. Needed by `mtls`; no default.
    pub ca_file: Option<PathBuf>,
    /// PEM file with this process's certificate chain; its DNS name is the service's name. Needed by
    /// `mtls`; no default.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the certificate's private key. Needed by `mtls`; no default.
    pub key_file: Option<PathBuf>,
}

/// Whether the mesh is encrypted and authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Both sides show a certificate of the mesh.
    #[default]
    Mtls,
    /// No encryption and no identity: every peer is anonymous. On loopback addresses only.
    Plaintext,
}

/// What the process tells about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `json`, one object a line, or `text` for people. Default: `json`.
    pub log_format: LogFormat,
    /// Which log records are kept: levels by target, such as `info,auth_svc=debug`. Default: `info`.
    pub log_filter: String,
    /// Address of an OTLP collector (gRPC) for traces, such as `http://127.0.0.1:4317`. Default:
    /// none, traces are not exported.
    pub otlp_endpoint: Option<String>,
    /// The part of the traces that is exported, from 0 to 1, of those that begin here: where a caller says
    /// whether its trace is sampled, that holds. Default: 1.
    pub trace_ratio: f64,
    /// How many log records of one kind, which is one place in the code, are written in a second; how many
    /// more there were is told once a second. 0 writes all. Default: 500.
    pub log_burst: u32,
    /// Key of the hash that stands for a user in the log, the same in all processes. Without one, whoever
    /// knows a user's id finds the user's records. Default: none.
    pub subject_key: Secret<String>,
    /// `[telemetry.reporter]`
    pub reporter: ReporterSettings,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            trace_ratio: 1.0,
            log_burst: 500,
            subject_key: Secret::default(),
            reporter: ReporterSettings::default(),
        }
    }
}

/// Who is told of errors, beside the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReporterSettings {
    /// DSN of a receiver that speaks Sentry's protocol: `https://KEY@HOST/PROJECT`. Default: none, errors
    /// are in the log alone.
    pub dsn: Secret<String>,
    /// What this installation is called there. Default: `development`.
    pub environment: String,
    /// The most reports in a minute. Default: 30.
    pub per_minute: u32,
}

impl Default for ReporterSettings {
    fn default() -> Self {
        Self { dsn: Secret::default(), environment: "development".to_owned(), per_minute: 30 }
    }
}

/// The forms of a log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The client side of the mesh.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelSettings {
    /// `grpc` over HTTP/2, or `grpc-web` over HTTP/1.1 for networks that cannot pass HTTP/2.
    /// Default: `grpc`.
    pub transport: Transport,
    /// How long a connection may take to open, TLS included. Default: 2 s.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long a call may take that brings no deadline. Default: 5 s.
    #[serde(with = "humantime_serde")]
    pub default_deadline: Duration,
    /// The most attempts of a call that may be repeated, the first included. Default: 3.
    pub max_attempts: u32,
    /// Retries allowed for each call made, so that retries cannot multiply an outage; between 0 and
    /// 1. Default: 0.2.
    pub retry_budget: f64,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            transport: Transport::Grpc,
            connect_timeout: Duration::from_secs(2),
            default_deadline: Duration::from_secs(5),
            max_attempts: 3,
            retry_budget: 0.2,
        }
    }
}

/// The transports behind a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web over HTTP/1.1.
    GrpcWeb,
}

/// How a process ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LifecycleSettings {
    /// How long a draining process still accepts calls, so that the news that it leaves can spread.
    /// Default: 500 ms.
    #[serde(with = "humantime_serde")]
    pub spread: Duration,
    /// The longest a drain may take, after which the process ends regardless. Default: 20 s.
    #[serde(with = "humantime_serde")]
    pub drain_deadline: Duration,
}

impl Default for LifecycleSettings {
    fn default() -> Self {
        Self { spread: Duration::from_millis(500), drain_deadline: Duration::from_secs(20) }
    }
}

/// What one listener takes before a request is even read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerLimits {
    /// The most connections open at once; more wait in the kernel's backlog. Default: 10000.
    pub max_connections: usize,
    /// The most bytes of request headers. Default: 16384.
    pub max_header_bytes: u32,
    /// How long a client may take to send its request headers. Default: 10 s.
    #[serde(with = "humantime_serde")]
    pub header_read_timeout: Duration,
    /// How long a TLS handshake may take. Default: 5 s.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_header_bytes: 16 * 1024,
            header_read_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
        }
    }
}
