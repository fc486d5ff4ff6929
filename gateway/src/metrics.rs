//! What the gateway counts, on one page.

use mainstay::kernel::telemetry::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// The gateway's own metrics. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct GatewayMetrics {
    over_limit: Family<LimitLabels, Counter>,
}

/// Labels of `gateway_over_limit_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    /// The rate class, a row of the table in the settings.
    class: String,
    /// Whether the call was refused: `false` where the class is in shadow.
    enforced: &'static str,
}

impl GatewayMetrics {
    /// The gateway's metrics, shown with those of the process.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(
            "gateway_over_limit",
            "Calls over the limit of their rate class",
            own.over_limit.clone(),
        );
        own
    }

    /// A call was over the limit of its class.
    pub(crate) fn over_limit(&self, class: &str, enforced: bool) {
        let enforced = if enforced { "true" } else { "false" };
        let labels = LimitLabels { class: class.to_owned(), enforced };
        self.over_limit.get_or_create(&labels).inc();
    }
}
