//! Stripe: checkout sessions, subscriptions, and their end. What becomes of them arrives as reports
//! (see `webhook.rs`).

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use mainstay::contract::billing::PROVIDER_UNAVAILABLE;
use mainstay::kernel::settings::Secret;
use mainstay::kernel::{Error, Result};
use serde_json::Value;

use crate::config::Config;
use crate::domain::{Checkout, PaymentProvider, ProviderSubscription, Purchase};

/// Stripe's replies are a few kilobytes; what is larger is not one.
const REPLY_LIMIT_BYTES: usize = 1 << 20;

/// The client of Stripe's API.
pub struct Stripe {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    key: Secret<String>,
    timeout: Duration,
    success_url: String,
    cancel_url: String,
}

/// Parameters of a call, as a form.
type Form<'a> = &'a [(&'a str, &'a str)];

impl Stripe {
    /// A client as the settings say.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .context("the system's certificate authorities cannot be read")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: config.stripe_api_url.trim_end_matches('/').to_owned(),
            key: config.stripe_api_key.clone().context("billing.stripe_api_key is not set")?,
            timeout: config.stripe_timeout,
            success_url: config.checkout_success_url.clone(),
            cancel_url: config.checkout_cancel_url.clone(),
        })
    }

    /// Makes a call. The idempotency key makes a repeated call harmless for a day.
    async fn call(
        &self,
        method: Method,
        path: &str,
        form: Form<'_>,
        idempotency_key: &str,
    ) -> Result<Value, Failure> {
        let body: String =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key.expose()))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("idempotency-key", idempotency_key)
            .body(Full::from(body))
            .map_err(|error| Failure::Away(error.into()))?;
        let answered = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        answered.map_err(|_| Failure::Away(anyhow!("no reply within {:?}", self.timeout)))?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Value, Failure> {
        let away = |error: anyhow::Error| Failure::Away(error);
        let reply = self.client.request(request).await.map_err(|error| away(error.into()))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), REPLY_LIMIT_BYTES)
            .collect()
            .await
            .map_err(|error| away(anyhow!("the reply broke off: {error}")))?
            .to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| away(error.into()));
        }
        // Stripe's words may quote what the user typed: they go no further than our log.
        let detail = String::from_utf8_lossy(&body).chars().take(500).collect();
        Err(Failure::Refused { status, detail })
    }
}

/// Why a call of Stripe's API brought nothing.
enum Failure {
    /// No reply, or none that could be read.
    Away(anyhow::Error),
    /// A reply that refuses.
    Refused { status: StatusCode, detail: String },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let source = match failure {
            Failure::Away(error) => error.context("stripe is away"),
            Failure::Refused { status, detail } => anyhow!("stripe answered {status}: {detail}"),
        };
        tracing::warn!(error = format!("{source:#}"), "the payment provider did not do it");
        Error::new(PROVIDER_UNAVAILABLE, "the payment provider did not take the request")
            .retry_after(Duration::from_secs(5))
            .because(source)
    }
}

#[async_trait]
impl PaymentProvider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn purchase(&self, purchase: Purchase) -> Result<Checkout> {
        let price = purchase.stripe_price.as_deref().unwrap_or_default();
        let user = purchase.user.to_string();
        let key = format!("checkout-{}-{}", purchase.subscription, purchase.version);
        let form = [
            ("mode", "subscription"),
            ("client_reference_id", user.as_str()),
            ("line_items[0][price]", price),
            ("line_items[0][quantity]", "1"),
            ("metadata[user_id]", user.as_str()),
            ("metadata[plan]", purchase.plan.as_str()),
            ("subscription_data[metadata][user_id]", user.as_str()),
            ("subscription_data[metadata][plan]", purchase.plan.as_str()),
            ("success_url", self.success_url.as_str()),
            ("cancel_url", self.cancel_url.as_str()),
        ];
        let session = self.call(Method::POST, "/v1/checkout/sessions", &form, &key).await?;
        let text = |name: &str| session[name].as_str().map(str::to_owned);
        match (text("url"), text("id")) {
            (Some(url), Some(reference)) => Ok(Checkout::Pending { url, reference }),
            _ => Err(Failure::Away(anyhow!("a checkout session without url or id")).into()),
        }
    }

    async fn change(
        &self,
        running: Option<&ProviderSubscription>,
        purchase: Purchase,
    ) -> Result<Checkout> {
        let Some(ProviderSubscription { id, item: Some(item) }) = running else {
            return self.purchase(purchase).await;
        };
        let path = format!("/v1/subscriptions/{id}");
        let price = purchase.stripe_price.as_deref().unwrap_or_default();
        let key = format!("change-{}-{}", purchase.subscription, purchase.version);
        let form = [
            ("items[0][id]", item.as_str()),
            ("items[0][price]", price),
            ("metadata[plan]", purchase.plan.as_str()),
            ("proration_behavior", "create_prorations"),
        ];
        self.call(Method::POST, &path, &form, &key).await?;
        // Paid with the card on file: there is no page to visit, the report tells the rest.
        Ok(Checkout::Pending { url: String::new(), reference: String::new() })
    }

    async fn cancel(
        &self,
        running: Option<&ProviderSubscription>,
        checkout: Option<&str>,
    ) -> Result<()> {
        if let Some(checkout) = checkout {
            let path = format!("/v1/checkout/sessions/{checkout}/expire");
            ended(self.call(Method::POST, &path, &[], &format!("expire-{checkout}")).await)?;
        }
        if let Some(running) = running {
            let path = format!("/v1/subscriptions/{}", running.id);
            ended(self.call(Method::DELETE, &path, &[], &format!("cancel-{}", running.id)).await)?;
        }
        Ok(())
    }
}

/// What is over cannot be ended again, and need not be.
fn ended(answer: Result<Value, Failure>) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(Failure::Refused { status, .. })
            if status == StatusCode::NOT_FOUND || status == StatusCode::BAD_REQUEST =>
        {
            Ok(())
        }
        Err(failure) => Err(failure.into()),
    }
}
