//! Stripe's reports: their signature and what they say.
//!
//! The header `Stripe-Signature` reads `t=<unix seconds>,v1=<hex>,…`; a signature is the HMAC-SHA256
//! of `<t>.<payload>` under one of the endpoint's secrets. Several `v1` and several secrets are valid
//! while a secret is rotated.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use constant_time_eq::constant_time_eq;
use hmac::{Hmac, KeyInit as _, Mac as _};
use mainstay::contract::billing::WEBHOOK_SIGNATURE_INVALID;
use mainstay::contract::identity::UserId;
use mainstay::kernel::settings::Secret;
use mainstay::kernel::{Error, Result};
use serde_json::Value;
use sha2::Sha256;

use crate::config::Config;
use crate::domain::{Catalogue, ProviderReport, ProviderStatus, Report, WebhookVerifier};

/// Verifies and reads Stripe's reports.
pub struct StripeWebhooks {
    secrets: Vec<Secret<String>>,
    tolerance_seconds: i64,
    catalogue: Arc<Catalogue>,
}

impl StripeWebhooks {
    /// A verifier with the secrets of the settings; prices are looked up in the catalogue.
    pub fn new(config: &Config, catalogue: Arc<Catalogue>) -> Self {
        let secrets = config.stripe_webhook_secrets.as_ref().map_or("", |all| all.expose());
        let secrets = secrets.split(',').map(str::trim).filter(|secret| !secret.is_empty());
        Self {
            secrets: secrets.map(|secret| Secret::from(secret.to_owned())).collect(),
            tolerance_seconds: i64::try_from(config.stripe_webhook_tolerance.as_secs())
                .unwrap_or(i64::MAX),
            catalogue,
        }
    }

    fn check_signature(&self, payload: &[u8], header: &str, now: DateTime<Utc>) -> Result<()> {
        let refused = |why: &str| Error::new(WEBHOOK_SIGNATURE_INVALID, why);
        let mut time = None;
        let mut signatures = Vec::new();
        for part in header.split(',') {
            match part.trim().split_once('=') {
                Some(("t", value)) => time = value.parse::<i64>().ok(),
                Some(("v1", value)) => signatures.push(value),
                _ => {}
            }
        }
        let time = time.ok_or_else(|| refused("the signature header states no time"))?;
        if now.timestamp().abs_diff(time) > self.tolerance_seconds.unsigned_abs() {
            return Err(refused("the signature is too old or from the future"));
        }
        let good = self.secrets.iter().any(|secret| {
            let expected = sign(secret, time, payload);
            signatures
                .iter()
                .any(|signature| constant_time_eq(expected.as_bytes(), signature.as_bytes()))
        });
        if good { Ok(()) } else { Err(refused("no signature matches the payload")) }
    }
}

impl WebhookVerifier for StripeWebhooks {
    fn verify(
        &self,
        payload: &[u8],
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<ProviderReport> {
        self.check_signature(payload, signature, now)?;
        let event: Value = serde_json::from_slice(payload)
            .map_err(|error| Error::invalid("body", "must be a JSON object").because(error))?;
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let id = text("id").ok_or_else(|| Error::invalid("body.id", "must be a string"))?;
        let kind = text("type").ok_or_else(|| Error::invalid("body.type", "must be a string"))?;
        let time = event["created"]
            .as_i64()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .ok_or_else(|| Error::invalid("body.created", "must be a time in unix seconds"))?;
        let object = &event["data"]["object"];
        let content = match kind.as_str() {
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
                Some(read_checkout(object))
            }
            "customer.subscription.created"
            | "customer.subscription.updated"
            | "customer.subscription.deleted" => {
                let mut report = read_subscription(object, &self.catalogue);
                if kind.ends_with("deleted") {
                    report.status = ProviderStatus::Ended;
                }
                Some(report)
            }
            _ => None,
        };
        Ok(ProviderReport { id, kind, time, content })
    }
}

fn sign(secret: &Secret<String>, time: i64, payload: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(format!("{time}.").as_bytes());
    mac.update(payload);
    hex::encode(mac.finalize().into_bytes())
}

fn read_checkout(object: &Value) -> Report {
    let paid = matches!(object["payment_status"].as_str(), Some("paid" | "no_payment_required"));
    Report {
        user: user_of(object),
        provider_subscription: object["subscription"].as_str().map(str::to_owned),
        provider_item: None,
        status: if paid { ProviderStatus::Active } else { ProviderStatus::Pending },
        plan: object["metadata"]["plan"].as_str().map(str::to_owned),
        period_end: None,
    }
}

fn read_subscription(object: &Value, catalogue: &Catalogue) -> Report {
    let item = &object["items"]["data"][0];
    let price = item["price"]["id"].as_str().and_then(|price| catalogue.by_stripe_price(price));
    // Since its version 2025-03-31 Stripe keeps the period with the item.
    let period_end = item["current_period_end"].as_i64().or(object["current_period_end"].as_i64());
    Report {
        user: user_of(object),
        provider_subscription: object["id"].as_str().map(str::to_owned),
        provider_item: item["id"].as_str().map(str::to_owned),
        status: match object["status"].as_str() {
            Some("active" | "trialing") => ProviderStatus::Active,
            Some("past_due") => ProviderStatus::PastDue,
            Some("canceled" | "unpaid" | "incomplete_expired" | "paused") => ProviderStatus::Ended,
            _ => ProviderStatus::Pending,
        },
        plan: price
            .map(|plan| plan.id.clone())
            .or_else(|| object["metadata"]["plan"].as_str().map(str::to_owned)),
        period_end: period_end.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
    }
}

fn user_of(object: &Value) -> Option<UserId> {
    let named = object["metadata"]["user_id"].as_str().or(object["client_reference_id"].as_str());
    named.and_then(|id| UserId::parse(id).ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PAYLOAD: &[u8] = br#"{"id":"evt_1","type":"ping","created":1800000000,"data":{}}"#;

    fn verifier(secrets: &str) -> StripeWebhooks {
        let config = Config {
            stripe_webhook_secrets: Some(Secret::from(secrets.to_owned())),
            stripe_webhook_tolerance: Duration::from_secs(300),
            ..Config::default()
        };
        let catalogue = Arc::new(config.catalogue().expect("sound"));
        StripeWebhooks::new(&config, catalogue)
    }

    fn header(secret: &str, time: i64) -> String {
        format!("t={time},v1={}", sign(&Secret::from(secret.to_owned()), time, PAYLOAD))
    }

    #[test]
    fn signatures() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let at = |offset: i64| header("one", 1_800_000_000 + offset);
        let bogus = format!("{},v1={}", at(0).replace("v1", "v0"), "0".repeat(64));
        let cases = [
            ("good", "one", at(0), true),
            ("second secret of a rotation", "two, one", at(0), true),
            ("several signatures, one good", "one", format!("t=1800000000,v1=ff,{}", at(0)), true),
            ("at the edge of the tolerance", "one", at(-300), true),
            ("too old", "one", at(-301), false),
            ("from the future", "one", at(301), false),
            ("other secret", "other", at(0), false),
            ("no secret set", "", at(0), false),
            ("other scheme only", "one", bogus, false),
            ("no time", "one", at(0).replace("t=1800000000,", ""), false),
            ("empty", "one", String::new(), false),
        ];
        for (what, secrets, header, good) in cases {
            let verdict = verifier(secrets).verify(PAYLOAD, &header, now);
            assert_eq!(verdict.is_ok(), good, "{what}: {verdict:?}");
        }
        let changed = verifier("one").verify(b"{}", &at(0), now).expect_err("other payload");
        assert!(changed.is(&WEBHOOK_SIGNATURE_INVALID), "{changed}");
    }
}
