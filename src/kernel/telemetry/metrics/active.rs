//! How many there are of something at a time.

use prometheus_client::metrics::gauge::Gauge;

/// One of what a gauge counts, such as a call in flight, for as long as this is kept.
#[derive(Debug)]
pub struct Active(Gauge);

impl Active {
    /// Counts one more.
    pub fn begin(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}
