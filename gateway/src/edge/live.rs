//! What of the settings takes effect while the gateway runs, compiled for the hot path.
//!
//! A request loads the policies without a lock; a change replaces all of them at once.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use mainstay::kernel::settings::ServiceSettings as _;

use super::cors::CorsPolicies;
use super::rate::RatePolicies;
use super::security::SecurityHeaders;
use crate::config::GatewaySettings;

/// The policies that hold right now. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LivePolicies(Arc<ArcSwap<Policies>>);

/// Policies of the edge that come from the settings.
pub(crate) struct Policies {
    /// How many calls whom.
    pub(crate) rates: RatePolicies,
    /// Which pages may call.
    pub(crate) cors: CorsPolicies,
    /// What every reply tells browsers.
    pub(crate) security: SecurityHeaders,
}

impl LivePolicies {
    /// The policies of the settings.
    ///
    /// # Errors
    /// Where they cannot hold.
    pub(crate) fn new(settings: &GatewaySettings) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Policies::compile(settings)?))))
    }

    /// Puts other settings into effect.
    ///
    /// # Errors
    /// Where they cannot hold; those before go on then.
    pub(crate) fn replace(&self, settings: &GatewaySettings) -> anyhow::Result<()> {
        self.0.store(Arc::new(Policies::compile(settings)?));
        Ok(())
    }

    /// What holds right now.
    pub(crate) fn load(&self) -> Guard<Arc<Policies>> {
        self.0.load()
    }
}

impl Policies {
    fn compile(settings: &GatewaySettings) -> anyhow::Result<Self> {
        settings.validate()?;
        Ok(Self {
            rates: RatePolicies::compile(settings)?,
            cors: CorsPolicies::compile(settings)?,
            security: SecurityHeaders::compile(settings)?,
        })
    }
}
