//! The limit by client address, before anything is known of a request: tower_governor.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use governor::middleware::NoOpMiddleware;
use mainstay::kernel::error::{Error, RATE_LIMITED};
use tokio_util::sync::CancellationToken;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::{GovernorError, GovernorLayer};

use super::client_ip::ByClientIp;
use super::request_id;
use crate::config::GatewaySettings;
use crate::error;

/// How often addresses that have been quiet are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// The limiter and what it remembers.
pub(crate) type IpLimit = Arc<GovernorConfig<ByClientIp, NoOpMiddleware>>;

/// A limiter by the settings.
pub(crate) fn limit(settings: &GatewaySettings) -> anyhow::Result<IpLimit> {
    let period = settings.ip_rate.per / settings.ip_rate.count;
    GovernorConfigBuilder::default()
        .period(period.max(Duration::from_nanos(1)))
        .burst_size(settings.ip_burst)
        .key_extractor(ByClientIp)
        .finish()
        .map(Arc::new)
        .ok_or_else(|| anyhow::anyhow!("gateway.ip_rate and gateway.ip_burst must be above 0"))
}

/// The limiter as a layer, whose refusals look like all others.
pub(crate) fn layer(limit: &IpLimit) -> GovernorLayer<ByClientIp, NoOpMiddleware, Body> {
    GovernorLayer::new(Arc::clone(limit)).error_handler(refuse)
}

/// Forgets quiet addresses until the shutdown.
pub(crate) async fn sweep(limit: IpLimit, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
        limit.limiter().retain_recent();
    }
}

fn refuse(fault: GovernorError) -> Response {
    let error = match fault {
        GovernorError::TooManyRequests { wait_time, .. } => {
            Error::new(RATE_LIMITED, "too many requests from this address")
                .retry_after(Duration::from_secs(wait_time.max(1)))
        }
        other => Error::internal(anyhow::anyhow!("the address limit failed: {other}")),
    };
    error::response(&error, &request_id::current())
}
