//! The settings of billing: table `[billing]` of the settings file, `MAINSTAY_BILLING__…` in the
//! environment.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use mainstay::kernel::settings::{Secret, ServiceSettings};
use serde::{Deserialize, Serialize};

use crate::domain::{Catalogue, Plan};

/// The catalogue that holds when no file is named.
const BUILT_IN_CATALOGUE: &str = include_str!("../catalogue.toml");

/// Settings of billing.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// File with the plans on offer. Default: the catalogue that comes with the service
    /// (`billing-svc/catalogue.toml`).
    pub catalogue_file: Option<PathBuf>,
    /// Who takes the money: `manual` puts a plan in force at once and takes none, `stripe` waits
    /// for Stripe's report. Default: `manual`.
    pub provider: ProviderKind,
    /// Key of Stripe's API, `sk_…`. Needed with the provider `stripe`. Default: none.
    pub stripe_api_key: Option<Secret<String>>,
    /// Address of Stripe's API. Default: `https://api.stripe.com`.
    pub stripe_api_url: String,
    /// Longest a call of Stripe's API may take. Default: 8 s.
    #[serde(with = "humantime_serde")]
    pub stripe_timeout: Duration,
    /// Secrets that sign Stripe's reports, `whsec_…`, separated by commas: during a rotation the
    /// old and the new one. Without any, every report is refused. Default: none.
    pub stripe_webhook_secrets: Option<Secret<String>>,
    /// How far a report's time may be from ours. Default: 300 s, as Stripe's own libraries.
    #[serde(with = "humantime_serde")]
    pub stripe_webhook_tolerance: Duration,
    /// Where Stripe sends a user who paid. Default: `http://localhost:8080/docs`.
    pub checkout_success_url: String,
    /// Where Stripe sends a user who gave up paying. Default: `http://localhost:8080/docs`.
    pub checkout_cancel_url: String,
}

/// Who takes the money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// A plan is in force at once.
    #[default]
    Manual,
    /// Stripe.
    Stripe,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            catalogue_file: None,
            provider: ProviderKind::Manual,
            stripe_api_key: None,
            stripe_api_url: "https://api.stripe.com".into(),
            stripe_timeout: Duration::from_secs(8),
            stripe_webhook_secrets: None,
            stripe_webhook_tolerance: Duration::from_secs(300),
            checkout_success_url: "http://localhost:8080/docs".into(),
            checkout_cancel_url: "http://localhost:8080/docs".into(),
        }
    }
}

impl ServiceSettings for Config {
    const SECTION: &'static str = "billing";

    fn validate(&self) -> anyhow::Result<()> {
        let catalogue = self.catalogue()?;
        if self.provider == ProviderKind::Stripe {
            anyhow::ensure!(
                self.stripe_api_key.is_some() && self.stripe_webhook_secrets.is_some(),
                "billing.provider is stripe: set billing.stripe_api_key and \
                 billing.stripe_webhook_secrets"
            );
            let unpriced = catalogue
                .plans()
                .iter()
                .find(|plan| plan.price_minor_units > 0 && plan.stripe_price.is_none());
            if let Some(plan) = unpriced {
                anyhow::bail!("billing.provider is stripe: plan {} has no stripe_price", plan.id);
            }
        }
        Ok(())
    }
}

impl Config {
    /// The plans on offer.
    pub fn catalogue(&self) -> anyhow::Result<Catalogue> {
        let (text, origin) = match &self.catalogue_file {
            None => (BUILT_IN_CATALOGUE.to_owned(), "the built-in catalogue".to_owned()),
            Some(path) => {
                let origin = format!("billing.catalogue_file {}", path.display());
                (std::fs::read_to_string(path).with_context(|| origin.clone())?, origin)
            }
        };
        let file: CatalogueFile = toml::from_str(&text).with_context(|| origin.clone())?;
        let plans = file.plan.into_iter().map(Plan::from).collect();
        Catalogue::new(plans).map_err(|fault| anyhow::anyhow!("{origin}: {fault}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    plan: Vec<PlanEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanEntry {
    id: String,
    title: String,
    #[serde(default)]
    description: String,
    price_minor_units: u32,
    currency: String,
    #[serde(default)]
    interval: String,
    #[serde(default)]
    features: Vec<String>,
    stripe_price: Option<String>,
}

impl From<PlanEntry> for Plan {
    fn from(entry: PlanEntry) -> Self {
        Self {
            id: entry.id,
            title: entry.title,
            description: entry.description,
            price_minor_units: entry.price_minor_units,
            currency: entry.currency,
            interval: entry.interval,
            features: entry.features,
            stripe_price: entry.stripe_price,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_is_sound() {
        let plans = Config::default().catalogue().expect("sound");
        let ids: Vec<_> = plans.plans().iter().map(|plan| plan.id.as_str()).collect();
        assert_eq!(ids, ["free", "paid", "ai"]);
    }

    #[test]
    fn stripe_without_its_secrets_is_refused() {
        let config = Config { provider: ProviderKind::Stripe, ..Config::default() };
        let fault = config.validate().expect_err("no secrets").to_string();
        assert!(fault.contains("billing.stripe_api_key"), "{fault}");
    }
}
