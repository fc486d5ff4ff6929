//! Combinations that are refused: values that cannot work, and values that would be insecure.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::kernel::{EventKind, KernelSettings, TlsMode, TlsSettings};

impl KernelSettings {
    /// Refuses what cannot work or would be insecure; the message names the setting and the mend.
    pub fn validate(&self) -> anyhow::Result<()> {
        self.validate_tls()?;
        self.validate_addresses()?;
        self.validate_amounts()?;
        self.registry.validate()?;
        self.redis.validate()?;
        self.cache.validate(&self.redis)?;
        ensure!(
            self.events.kind != EventKind::RedisStreams || self.redis.is_set(),
            "events.kind is redis-streams and redis.url is not set: set it"
        );
        if let Some(endpoint) = &self.telemetry.otlp_endpoint {
            let url = url::Url::parse(endpoint).with_context(|| {
                format!("telemetry.otlp_endpoint {endpoint} is no address: write http://host:4317")
            })?;
            ensure!(
                matches!(url.scheme(), "http" | "https"),
                "telemetry.otlp_endpoint {endpoint} must begin with http:// or https://"
            );
        }
        let ratio = self.telemetry.trace_ratio;
        ensure!((0.0..=1.0).contains(&ratio), "telemetry.trace_ratio is {ratio}: say 0 to 1");
        Ok(())
    }

    fn validate_tls(&self) -> anyhow::Result<()> {
        match self.tls.mode {
            TlsMode::Mtls => self.tls.validate_files(),
            TlsMode::Plaintext => {
                ensure!(
                    self.listen.ip().is_loopback(),
                    "tls.mode is plaintext and listen {} is no loopback address, so that anybody \
                     could pose as any service: set tls.mode = \"mtls\" with tls.ca_file, \
                     tls.cert_file and tls.key_file, or listen on 127.0.0.1",
                    self.listen
                );
                Ok(())
            }
        }
    }

    fn validate_addresses(&self) -> anyhow::Result<()> {
        ensure!(
            self.listen != self.admin_listen || self.listen.port() == 0,
            "listen and admin_listen are both {}: give admin_listen another port",
            self.listen
        );
        let Some(advertise) = &self.advertise else { return Ok(()) };
        let port = advertise.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        ensure!(
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok()),
            "advertise {advertise} must be host:port, such as 10.0.0.5:8081"
        );
        Ok(())
    }

    fn validate_amounts(&self) -> anyhow::Result<()> {
        let not_zero = [
            ("database.max_connections", u64::from(self.database.max_connections)),
            ("events.max_attempts", u64::from(self.events.max_attempts)),
            ("jobs.concurrency", self.jobs.concurrency as u64),
            ("jobs.max_attempts", u64::from(self.jobs.max_attempts)),
            ("channel.max_attempts", u64::from(self.channel.max_attempts)),
            ("limits.max_connections", self.limits.max_connections as u64),
        ];
        for (name, value) in not_zero {
            ensure!(value > 0, "{name} must be 1 or more");
        }
        let not_instant = [
            ("database.acquire_timeout", self.database.acquire_timeout),
            ("database.statement_timeout", self.database.statement_timeout),
            ("database.lock_timeout", self.database.lock_timeout),
            ("database.idle_in_transaction_timeout", self.database.idle_in_transaction_timeout),
            ("events.poll_interval", self.events.poll_interval),
            ("events.outbox_interval", self.events.outbox_interval),
            ("events.retention", self.events.retention),
            ("events.dead_letter_retention", self.events.dead_letter_retention),
            ("jobs.poll_interval", self.jobs.poll_interval),
            ("channel.connect_timeout", self.channel.connect_timeout),
            ("channel.default_deadline", self.channel.default_deadline),
            ("lifecycle.drain_deadline", self.lifecycle.drain_deadline),
            ("limits.header_read_timeout", self.limits.header_read_timeout),
            ("limits.handshake_timeout", self.limits.handshake_timeout),
        ];
        self.events.kafka.validate(self.events.kind == EventKind::Kafka)?;
        for (name, value) in not_instant {
            ensure!(value > Duration::ZERO, "{name} must be longer than 0 s");
        }
        ensure!(
            (0.0..=1.0).contains(&self.channel.retry_budget),
            "channel.retry_budget {} must be between 0 and 1",
            self.channel.retry_budget
        );
        ensure!(
            self.limits.max_header_bytes >= 8192,
            "limits.max_header_bytes {} must be 8192 or more",
            self.limits.max_header_bytes
        );
        ensure!(
            self.jobs.lease >= Duration::from_secs(1),
            "jobs.lease must be 1 s or longer, for it is prolonged three times as often"
        );
        ensure!(
            self.jobs.stop_patience < self.lifecycle.drain_deadline,
            "jobs.stop_patience must be shorter than lifecycle.drain_deadline, of which it is a part"
        );
        ensure!(
            self.lifecycle.spread < self.lifecycle.drain_deadline,
            "lifecycle.spread must be shorter than lifecycle.drain_deadline, of which it is a part"
        );
        Ok(())
    }
}

impl TlsSettings {
    fn validate_files(&self) -> anyhow::Result<()> {
        let files = [
            ("tls.ca_file", &self.ca_file),
            ("tls.cert_file", &self.cert_file),
            ("tls.key_file", &self.key_file),
        ];
        for (name, file) in files {
            let Some(file) = file else {
                bail!(
                    "tls.mode is mtls and {name} is not set: set tls.ca_file, tls.cert_file and \
                     tls.key_file, or, on one machine only, tls.mode = \"plaintext\""
                );
            };
            readable(name, file)?;
        }
        Ok(())
    }
}

fn readable(name: &str, file: &Path) -> anyhow::Result<()> {
    std::fs::File::open(file)
        .map(drop)
        .with_context(|| format!("{name} {} cannot be read", file.display()))
}
