//! The REST edge of the platform: thin, with no business rule and no database.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the settings |
//! | `discovery` | routes from the registry and by reflection |
//! | `route` | path templates and the route table |
//! | `edge` | the way of a request through all stages |
//! | `transcode` | HTTP and JSON to protobuf and back |
//! | `envelope`, `error`, `cursor` | the shapes of replies |
//! | `openapi`, `docs` | the document and the explorer page |
//! | `admin` | the routes as the admin port shows them |
//! | `tls` | the certificate of the public address |
//! | [`standalone`] | the gateway alone before one gRPC server |
//! | `metrics` | what the gateway counts |

use std::sync::Arc;

use arc_swap::ArcSwap;
use mainstay::contract::auth::{self, GrpcAuthClient, RemoteApiKeys, RemoteKeys};
use mainstay::contract::authz::{self, GrpcAuthzClient, RemoteAuthorizer};
use mainstay::contract::billing::{self, GrpcBillingClient, RemoteEntitlements};
use mainstay::kernel::claims::{Claims, FolderClaims, SharedClaims};
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::token::{SharedRevocations, TokenSettings, Verifier};

mod admin;
pub mod config;
mod cursor;
mod cursor_key;
mod discovery;
mod docs;
mod edge;
mod envelope;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod openapi;
mod route;
pub mod standalone;
mod tls;
mod transcode;

pub use config::GatewaySettings;
pub use transcode::plan::{JsonPlan, Spelling};
pub use transcode::read::Unknown;
pub use transcode::request::RequestPlan;
pub use transcode::wire::Malformed;

use cursor::CursorSigner;
use discovery::Discovery;
use discovery::reflection::Channels;
use discovery::shelf::Shelf;
use edge::live::LivePolicies;
use edge::own::OwnPages;
use edge::rate::RateLimits;
use edge::{Edge, ip_limit};
use metrics::GatewayMetrics;
use route::LiveTable;

/// The gateway's name in the mesh.
pub const SERVICE: &str = "gateway";

/// The gateway's port unless the settings say otherwise.
pub const PORT: u16 = 8080;

/// The gateway as the kernel runs it: every dependency, in one place.
pub async fn module(platform: Platform<GatewaySettings>) -> anyhow::Result<Module> {
    let settings = Arc::new(platform.settings().clone());
    let live: LiveTable = Arc::new(ArcSwap::default());
    let data_dir = platform.kernel_settings().data_dir.clone();
    let shutdown = platform.shutdown();
    let of_platform = platform.clone();
    let channels: Channels = Arc::new(move |service: &str| of_platform.channel(service));

    let auth = GrpcAuthClient::new(platform.channel(auth::SERVICE));
    let keys = Arc::new(RemoteKeys::new(auth.clone()));
    let tokens = TokenSettings {
        issuer: settings.token_issuer.clone(),
        audience: settings.token_audience.clone(),
    };
    let ended = SharedRevocations::over(platform.redis(), keys.clone());
    let verifier = Verifier::new(tokens, keys, ended);
    verifier.spawn_refresh(shutdown.clone());

    let authz = GrpcAuthzClient::new(platform.channel(authz::SERVICE));
    let billing = GrpcBillingClient::new(platform.channel(billing::SERVICE));
    let entitlements = RemoteEntitlements::with_times(
        billing,
        platform.redis(),
        &platform.metrics(),
        settings.entitlements_fresh,
        settings.entitlements_kept,
    );

    let ip_limit = ip_limit::limit(&settings)?;
    tokio::spawn(ip_limit::sweep(Arc::clone(&ip_limit), shutdown.clone()));

    let shelf = Shelf::in_folder(&data_dir.join("contracts"));
    let (discovery, settled) = Discovery::new(Arc::clone(&live), Arc::clone(&channels), shelf);
    tokio::spawn(discovery.run(platform.registry().watch(), shutdown.clone()));
    admin::report_readiness(&platform.readiness(), settled);

    let claims = claims(&platform)?;
    let metrics = platform.metrics();
    let counts = GatewayMetrics::new(&metrics);
    let policies = LivePolicies::new(&settings)?;
    let reloaded = policies.clone();
    platform.on_settings(config::RELOADABLE, move |settings| reloaded.replace(&settings))?;

    let edge = Arc::new(Edge {
        rates: Some(RateLimits::new(
            &settings,
            platform.redis(),
            counts.clone(),
            shutdown.clone(),
        )?),
        policies,
        claims: Some(claims),
        cursors: CursorSigner::new(&cursor_key::load(&settings.cursor_key, &data_dir)?),
        authorizer: Some(Arc::new(RemoteAuthorizer::new(authz, &metrics))),
        metrics,
        pages: OwnPages::new(),
        live: Arc::clone(&live),
        settings: Arc::clone(&settings),
        channels,
        verifier: Some(verifier),
        api_keys: Some(RemoteApiKeys::new(auth)),
        entitlements: Some(entitlements),
        ip_limit: Some(ip_limit),
    });
    let module = Module::new(mainstay::contract::DESCRIPTORS)
        .http(edge::stack(edge))
        .admin(admin::routes(live))
        .depends_on(auth::SERVICE)
        .depends_on(authz::SERVICE)
        .depends_on(billing::SERVICE);
    tls::serve(module, &settings.tls, &platform.metrics(), shutdown)
}

/// Where it is kept what came of requests with an `Idempotency-Key`: where all gateways see it, or on
/// the disk of the one there is.
fn claims(platform: &Platform<GatewaySettings>) -> anyhow::Result<Arc<dyn Claims>> {
    if let Some(redis) = platform.redis() {
        return Ok(Arc::new(SharedClaims::new(redis, "idempotency")));
    }
    let folder = platform.kernel_settings().data_dir.join("idempotency");
    let claims = FolderClaims::open(&folder, platform.settings().idempotency_keys)?;
    tokio::spawn(claims.clone().run(platform.shutdown()));
    Ok(Arc::new(claims))
}
