//! The limit by client address, before anything is known of a request: tower_governor.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::NoOpMiddleware;
use mainstay::kernel::error::{Error, RATE_LIMITED};
use mainstay::kernel::telemetry::metrics::RefusedBy;
use tokio_util::sync::CancellationToken;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};

use super::client_ip::{ByClientIp, ClientIp};
use super::{Edge, request_id};
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

/// Refuses an address that asks too often.
pub(crate) async fn apply<F: Future<Output = Response>>(
    edge: &Edge,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let Some(limit) = &edge.ip_limit else { return next(request).await };
    match limit.limiter().check_key(&ClientIp::of(&request).network()) {
        Ok(()) => next(request).await,
        Err(until) => refuse(edge, until.wait_time_from(DefaultClock::default().now())),
    }
}

/// Forgets quiet addresses until the shutdown.
pub(crate) async fn sweep(limit: IpLimit, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
        limit.limiter().retain_recent();
    }
}

fn refuse(edge: &Edge, wait: Duration) -> Response {
    let error = Error::new(RATE_LIMITED, "too many requests from this address");
    edge.metrics.rejected(RefusedBy::Rate, &error);
    error::response(&error.retry_after(wait), &request_id::current())
}
