//! Payment providers.

mod manual;
mod stripe;
mod webhook;

use std::sync::Arc;

use crate::config::{Config, ProviderKind};
use crate::domain::PaymentProvider;

pub use manual::Manual;
pub use stripe::Stripe;
pub use webhook::StripeWebhooks;

/// The provider that the settings name.
pub fn from_config(config: &Config) -> anyhow::Result<Arc<dyn PaymentProvider>> {
    Ok(match config.provider {
        ProviderKind::Manual => Arc::new(Manual),
        ProviderKind::Stripe => Arc::new(Stripe::new(config)?),
    })
}
