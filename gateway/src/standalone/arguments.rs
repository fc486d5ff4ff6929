//! The command line of a gateway that stands alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::HeaderName;
use mainstay::kernel::settings::{KernelSettings, Origin, RegistryKind, Settings, TlsMode};
use mainstay::kernel::tls::ServerTrust;

use super::UPSTREAM;
use super::address::ServerAddress;
use crate::config::{DEFAULT_CLASS, DEFAULT_PLAN, EdgeTls, GatewaySettings, Rate};

/// Addresses may send more at once than users, of whom several can be behind one.
const ADDRESS_BURST: u32 = 2;

/// The gateway before one gRPC server.
#[derive(Clone, Debug, clap::Args)]
pub struct Standalone {
    /// Stand alone before this gRPC server, without the platform: plaintext HTTP/2, or TLS with
    /// `https://HOST:PORT`. Several of the same server share its load.
    #[arg(
        long,
        value_name = "HOST:PORT",
        conflicts_with_all = ["settings", "print_settings", "check"]
    )]
    upstream: Vec<ServerAddress>,
    /// Trust the authorities of this PEM file for a server at https://, and not those of the machine.
    #[arg(long, requires = "upstream", value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// Read its contract from this FileDescriptorSet, made with --include_imports; else by gRPC
    /// server reflection.
    #[arg(long, requires = "upstream", value_name = "FILE")]
    descriptors: Option<PathBuf>,
    /// Listen here.
    #[arg(long, requires = "upstream", value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Speak TLS there, with the certificate chain of this PEM file; a change is taken up.
    #[arg(long, requires = "upstream", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, requires = "upstream", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Answer for health, readiness, metrics and the table of routes here.
    #[arg(long, requires = "upstream", value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    admin_listen: SocketAddr,
    /// Ask for an access token that a key of this JSON Web Key Set signed: http, https or file.
    #[arg(
        long,
        requires = "upstream",
        value_name = "URL",
        requires = "issuer",
        requires = "audience"
    )]
    jwks: Option<String>,
    /// The `iss` of these tokens.
    #[arg(long, requires = "upstream", value_name = "ISS", requires = "jwks")]
    issuer: Option<String>,
    /// The `aud` of these tokens.
    #[arg(long, requires = "upstream", value_name = "AUD", requires = "jwks")]
    audience: Option<String>,
    /// Let so many calls through from each subject and from each address: 100/s, 6000/1m.
    #[arg(long, requires = "upstream", value_name = "N/s")]
    rate_limit: Option<Rate>,
    /// What is logged: error, warn, info, debug, or a filter such as info,access=off.
    #[arg(long, requires = "upstream", value_name = "FILTER", default_value = "info")]
    log: String,
    /// Send traces to this OTLP collector (gRPC), such as http://127.0.0.1:4317.
    #[arg(long, requires = "upstream", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// The part of the traces begun here that is sent, from 0 to 1.
    #[arg(long, requires = "otlp_endpoint", value_name = "N", default_value_t = 1.0)]
    trace_ratio: f64,
    /// How many proxies in front add to X-Forwarded-For.
    #[arg(long, requires = "upstream", value_name = "N", default_value_t = 0)]
    trusted_hops: usize,
    /// Origins whose pages may call from a browser; `*` is every origin.
    #[arg(long, requires = "upstream", value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Hand this request header to the server; Authorization is, where no --jwks is given.
    #[arg(long, requires = "upstream", value_name = "NAME")]
    forward_header: Vec<HeaderName>,
    /// Refuse fields and query parameters that a request does not have, which are passed over else.
    #[arg(long, requires = "upstream")]
    refuse_unknown: bool,
    /// How long a call may take where the contract does not say.
    #[arg(long, requires = "upstream", value_name = "TIME", default_value = "30s", value_parser = humantime_serde::re::humantime::parse_duration)]
    timeout: Duration,
    /// How large a request may be where the contract does not say.
    #[arg(long, requires = "upstream", value_name = "BYTES", default_value_t = 4 * 1024 * 1024)]
    max_body_bytes: usize,
}

/// The server, and what is asked of those who call it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Whose word is taken for who the server is; `None` where it is plaintext.
    pub(super) trust: Option<ServerTrust>,
    pub(super) descriptors: Option<PathBuf>,
    pub(super) issuer: Option<Issuer>,
    pub(super) limited: bool,
    pub(super) forwarded: Vec<HeaderName>,
    pub(super) refuses_unknown: bool,
    pub(super) timeout: Duration,
    pub(super) max_body_bytes: usize,
}

/// Whose tokens are taken.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    pub(super) jwks: String,
    pub(super) name: String,
    pub(super) audience: String,
}

impl Standalone {
    /// Whether the gateway is to stand alone.
    pub fn is_wanted(&self) -> bool {
        !self.upstream.is_empty()
    }

    /// The settings of the process, and what it stands before.
    ///
    /// # Errors
    ///
    /// When an option says something that cannot be.
    pub fn read(self) -> anyhow::Result<(Settings<GatewaySettings>, Upstream)> {
        let trust = self.trust()?;
        ensure!(!self.timeout.is_zero(), "--timeout must be longer than 0 s");
        ensure!(self.max_body_bytes > 0, "--max-body-bytes must be 1 or more");
        ensure!((0.0..=1.0).contains(&self.trace_ratio), "--trace-ratio must be 0 to 1");
        let settings =
            Settings { kernel: self.kernel()?, own: self.own(), origin: Origin::default() };
        let issuer = match (self.jwks, self.issuer, self.audience) {
            (Some(jwks), Some(name), Some(audience)) => Some(Issuer { jwks, name, audience }),
            _ => None,
        };
        let upstream = Upstream {
            trust,
            descriptors: self.descriptors,
            issuer,
            limited: self.rate_limit.is_some(),
            forwarded: self.forward_header,
            refuses_unknown: self.refuse_unknown,
            timeout: self.timeout,
            max_body_bytes: self.max_body_bytes,
        };
        Ok((settings, upstream))
    }

    fn trust(&self) -> anyhow::Result<Option<ServerTrust>> {
        let encrypted = self.upstream.iter().filter(|address| address.is_encrypted).count();
        ensure!(
            encrypted == 0 || encrypted == self.upstream.len(),
            "--upstream names servers with TLS and without: they are to be the same"
        );
        ensure!(
            encrypted > 0 || self.upstream_ca.is_none(),
            "--upstream-ca is for a server with TLS: --upstream https://HOST:PORT"
        );
        match encrypted {
            0 => Ok(None),
            _ => ServerTrust::read(self.upstream_ca.as_deref())
                .map(Some)
                .context("--upstream is TLS"),
        }
    }

    fn kernel(&self) -> anyhow::Result<KernelSettings> {
        let mut kernel = KernelSettings {
            listen: self.listen,
            admin_listen: self.admin_listen,
            // Neither the database nor the broker of the platform is used, nor is anything kept; a
            // folder that is there is not made.
            data_dir: std::env::temp_dir(),
            ..KernelSettings::default()
        };
        let unused = |name: &str| kernel.data_dir.join(name);
        kernel.database.url = format!("sqlite://{}", unused("unused.db").display()).into();
        kernel.events.path = unused("unused.db");
        kernel.telemetry.log_filter.clone_from(&self.log);
        kernel.telemetry.otlp_endpoint.clone_from(&self.otlp_endpoint);
        kernel.telemetry.trace_ratio = self.trace_ratio;
        // There is no mesh: its server has no certificate, and the gateway needs none.
        kernel.tls.mode = TlsMode::Plaintext;
        kernel.registry.kind = RegistryKind::Static;
        let addresses = self.upstream.iter().map(|address| address.authority.to_string()).collect();
        kernel.registry.addresses = [(UPSTREAM.to_owned(), addresses)].into();
        if self.listen.ip().is_unspecified() {
            let loopback = SocketAddr::from((IpAddr::V4(Ipv4Addr::LOCALHOST), self.listen.port()));
            kernel.advertise = Some(loopback.to_string());
        }
        kernel.channel.default_deadline = self.timeout;
        ensure!(
            self.listen != self.admin_listen || self.listen.port() == 0,
            "--listen and --admin-listen are both {}: give one another port",
            self.listen
        );
        Ok(kernel)
    }

    fn own(&self) -> GatewaySettings {
        let mut own = GatewaySettings {
            tls: EdgeTls { certificate: self.tls_cert.clone(), key: self.tls_key.clone() },
            trusted_hops: self.trusted_hops,
            cors_origins: self.cors_origin.clone(),
            ..GatewaySettings::default()
        };
        if let Some(rate) = self.rate_limit {
            own.rates =
                [(DEFAULT_CLASS.to_owned(), [(DEFAULT_PLAN.to_owned(), rate)].into())].into();
            own.ip_rate = rate;
            own.ip_burst = rate.count.saturating_mul(ADDRESS_BURST);
        }
        own
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use clap::Parser;
    use mainstay::kernel::settings::Args;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        /// Which the options of a gateway that stands alone exclude.
        #[command(flatten)]
        _platform: Args,
        #[command(flatten)]
        standalone: Standalone,
    }

    fn read(options: &[&str]) -> anyhow::Result<Settings<GatewaySettings>> {
        let line = [&["gateway", "--upstream", "h:1"], options].concat();
        Ok(Line::try_parse_from(line)?.standalone.read()?.0)
    }

    #[test]
    fn traces_go_where_it_is_told_and_as_many_as_it_is_told() {
        let given = ["--otlp-endpoint", "http://collector:4317", "--trace-ratio", "0.01"];
        let telemetry = read(&given).unwrap().kernel.telemetry;
        assert_eq!(telemetry.otlp_endpoint.as_deref(), Some("http://collector:4317"));
        assert_eq!(telemetry.trace_ratio.to_string(), "0.01");
        assert_eq!(read(&[]).unwrap().kernel.telemetry.otlp_endpoint, None);
        let wrong = ["--otlp-endpoint", "http://collector:4317", "--trace-ratio", "2"];
        assert!(read(&wrong).unwrap_err().to_string().contains("--trace-ratio"));
    }
}
