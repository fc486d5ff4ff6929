//! The gateway alone, before one gRPC server that knows nothing of the platform.
//!
//! Its contract is read from a descriptor file or by reflection, and nothing is expected of it but
//! `google.api.http`. What a contract of the house would state is said on the command line: whether
//! a token is needed and whose, how many calls are let through, how long they may take.

use std::sync::Arc;

use arc_swap::ArcSwap;
use mainstay::kernel::channel::MeshChannel;
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::policy::{Access, EdgeStyle, Unstated};
use mainstay::kernel::token::{PublishedKeys, TokenSettings, Verifier};

mod address;
mod arguments;
mod contract;

pub use arguments::{Standalone, Upstream};

use crate::config::GatewaySettings;
use crate::cursor::CursorSigner;
use crate::discovery::reflection::Channels;
use crate::edge::live::LivePolicies;
use crate::edge::own::OwnPages;
use crate::edge::rate::RateLimits;
use crate::edge::{Edge, ip_limit};
use crate::metrics::GatewayMetrics;
use crate::route::LiveTable;
use crate::route::compile::Reading;
use crate::transcode::read::Unknown;
use crate::{admin, edge, tls};
use contract::{Source, Upkeep};

/// What the server is called in the table of routes and in errors.
const UPSTREAM: &str = "upstream";

/// The gateway as the kernel runs it before such a server.
pub async fn module(
    platform: Platform<GatewaySettings>,
    upstream: Upstream,
) -> anyhow::Result<Module> {
    let settings = Arc::new(platform.settings().clone());
    let live: LiveTable = Arc::new(ArcSwap::default());
    let shutdown = platform.shutdown();
    let channels = channels(&platform, &upstream)?;

    let verifier = match &upstream.issuer {
        Some(issuer) => {
            let keys = Arc::new(PublishedKeys::at(&issuer.jwks)?);
            let tokens =
                TokenSettings { issuer: issuer.name.clone(), audience: issuer.audience.clone() };
            let verifier = Verifier::of_any_issuer(tokens, keys);
            verifier.spawn_refresh(shutdown.clone());
            Some(verifier)
        }
        None => None,
    };
    let source = match &upstream.descriptors {
        Some(file) => Source::file(file)?,
        None => Source::Reflection(Arc::clone(&channels)),
    };
    let (upkeep, settled) = Upkeep::new(source, Arc::clone(&live), reading(&upstream));
    tokio::spawn(upkeep.run(shutdown.clone()));
    admin::report_readiness(&platform.readiness(), settled);

    let metrics = platform.metrics();
    let counts = GatewayMetrics::new(&metrics);
    let (rates, ip_limit) = if upstream.limited {
        let ip_limit = ip_limit::limit(&settings)?;
        tokio::spawn(ip_limit::sweep(Arc::clone(&ip_limit), shutdown.clone()));
        let rates = RateLimits::new(&settings, None, counts.clone(), shutdown.clone())?;
        (Some(rates), Some(ip_limit))
    } else {
        (None, None)
    };
    let edge = Arc::new(Edge {
        rates,
        // Without an envelope there are no cursors: a list has the page tokens of its contract.
        cursors: CursorSigner::new(&rand::random::<[u8; 32]>()),
        metrics,
        claims: None,
        policies: LivePolicies::new(&settings)?,
        authorizer: None,
        entitlements: None,
        pages: OwnPages::new(),
        live: Arc::clone(&live),
        settings: Arc::clone(&settings),
        channels,
        verifier,
        api_keys: None,
        ip_limit,
    });
    let module = Module::new(mainstay::contract::DESCRIPTORS);
    let module = module.http(edge::stack(edge)).admin(admin::routes(live));
    tls::serve(module, &settings.tls, &platform.metrics(), shutdown)
}

/// The way to the server: plaintext, or TLS by the authorities that are trusted.
fn channels(platform: &Platform<GatewaySettings>, upstream: &Upstream) -> anyhow::Result<Channels> {
    let channel = match &upstream.trust {
        None => platform.channel(UPSTREAM),
        Some(trust) => {
            let settings = &platform.kernel_settings().channel;
            MeshChannel::to_servers(UPSTREAM, trust, &*platform.registry(), settings)?
                .with_metrics(platform.metrics())
        }
    };
    Ok(Arc::new(move |_: &str| channel.clone()))
}

/// How the contract is read: a method that states nothing is public, unless tokens are known.
fn reading(upstream: &Upstream) -> Reading {
    let mut request_headers = upstream.forwarded.clone();
    let access = match upstream.issuer {
        Some(_) => Access::Authenticated,
        None => {
            // Whoever calls is the server's to find out.
            request_headers.push(http::header::AUTHORIZATION);
            Access::Public
        }
    };
    let unstated = Unstated {
        access,
        style: EdgeStyle::Plain,
        deadline: upstream.timeout,
        max_body_bytes: upstream.max_body_bytes,
        request_headers,
    };
    let unknown = if upstream.refuses_unknown { Unknown::Refuse } else { Unknown::Ignore };
    Reading::Foreign(unstated, unknown)
}
