//! Subscribing with Stripe: the plan is in force when Stripe says so.

use billing_svc::config::{Config, ProviderKind};
use mainstay::contract::billing::proto::billing_service_client::BillingServiceClient;
use mainstay::contract::billing::proto::{ReceiveWebhookRequest, SubscriptionState};
use mainstay::contract::billing::{PROVIDER_UNAVAILABLE, SERVICE, WEBHOOK_SIGNATURE_INVALID};
use mainstay::contract::identity::UserId;
use mainstay::contract::proto::google::api::HttpBody;
use mainstay::kernel::proto::events::CallAudited;
use mainstay::kernel::settings::Secret;
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;
use serde_json::{Value, json};

use crate::fake_stripe::{FakeStripe, SECRET, signature};
use crate::harness::Billing;

const CATALOGUE: &str = r#"
[[plan]]
id = "free"
title = "Free"
price_minor_units = 0
currency = "EUR"
[[plan]]
id = "paid"
title = "Paid"
price_minor_units = 1200
currency = "EUR"
interval = "month"
features = ["activity.history"]
stripe_price = "price_paid"
[[plan]]
id = "ai"
title = "AI"
price_minor_units = 4900
currency = "EUR"
interval = "month"
features = ["activity.history", "ai.assistant"]
stripe_price = "price_ai"
"#;

struct Story {
    stripe: FakeStripe,
    billing: Billing,
    _catalogue: tempfile::NamedTempFile,
}

impl Story {
    async fn begin() -> Self {
        let stripe = FakeStripe::start().await;
        let catalogue = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(catalogue.path(), CATALOGUE).unwrap();
        let config = Config {
            catalogue_file: Some(catalogue.path().to_path_buf()),
            provider: ProviderKind::Stripe,
            stripe_api_key: Some(Secret::from("sk_test".to_owned())),
            stripe_api_url: stripe.url.clone(),
            stripe_webhook_secrets: Some(Secret::from(format!("whsec_before,{SECRET}"))),
            ..Config::default()
        };
        let billing = Billing::start(config, Transport::Grpc).await;
        Self { stripe, billing, _catalogue: catalogue }
    }

    async fn report(&self, report: &Value) -> mainstay::kernel::Result<bool> {
        let payload = serde_json::to_vec(report).unwrap();
        let signature = signature(&payload, chrono::Utc::now().timestamp());
        self.deliver(payload, &signature).await
    }

    async fn deliver(&self, payload: Vec<u8>, signature: &str) -> mainstay::kernel::Result<bool> {
        let body = HttpBody {
            content_type: "application/json".into(),
            data: payload.into(),
            extensions: Vec::new(),
        };
        let channel = self.billing.mesh.channel("gateway", SERVICE);
        let mut client = BillingServiceClient::new(channel);
        let mut request = tonic::Request::new(ReceiveWebhookRequest { body: Some(body) });
        request.metadata_mut().insert("stripe-signature", signature.parse().unwrap());
        let reply = client.receive_webhook(request).await?;
        Ok(reply.into_inner().applied)
    }
}

fn subscription_report(
    event: &str,
    user: UserId,
    created: i64,
    status: &str,
    price: &str,
) -> Value {
    json!({
        "id": event, "type": "customer.subscription.updated", "created": created,
        "data": {"object": {
            "id": "sub_1", "status": status, "metadata": {"user_id": user.to_string()},
            "items": {"data": [{
                "id": "si_1", "price": {"id": price}, "current_period_end": created + 2_592_000,
            }]},
        }},
    })
}

#[tokio::test]
async fn a_checkout_is_in_force_when_stripe_reports_it() {
    let story = Story::begin().await;
    let user = UserId::new();

    let pending = story.billing.subscribe(user, "paid").await.unwrap();
    assert_eq!((pending.plan.as_str(), pending.state()), ("free", SubscriptionState::Pending));
    assert_eq!(pending.pending_plan, "paid");
    assert_eq!(pending.checkout_url, "https://checkout.stripe.test/cs_1");
    let call = story.stripe.calls().remove(0);
    assert_eq!(call.line, "POST /v1/checkout/sessions");
    assert_eq!(call.authorization, "Bearer sk_test");
    assert!(call.form.contains(&("line_items[0][price]".into(), "price_paid".into())));

    let report = subscription_report("evt_1", user, 1_800_000_000, "active", "price_paid");
    assert!(story.report(&report).await.unwrap());
    assert!(!story.report(&report).await.unwrap(), "a repeated delivery changes nothing");
    let active = story.billing.subscription(user).await;
    assert_eq!((active.plan.as_str(), active.state()), ("paid", SubscriptionState::Active));
    assert!(active.period_end_time.is_some() && active.checkout_url.is_empty());

    let changing = story.billing.change(user, "ai").await.unwrap();
    assert_eq!((changing.plan.as_str(), changing.pending_plan.as_str()), ("paid", "ai"));
    let newer = subscription_report("evt_3", user, 1_800_000_200, "active", "price_ai");
    let older = subscription_report("evt_2", user, 1_800_000_100, "past_due", "price_paid");
    assert!(story.report(&newer).await.unwrap());
    assert!(!story.report(&older).await.unwrap(), "an outdated report changes nothing");
    assert_eq!(story.billing.subscription(user).await.plan, "ai");

    let over = story.billing.cancel(user).await.unwrap();
    assert_eq!((over.plan.as_str(), over.state()), ("free", SubscriptionState::Canceled));
    let lines: Vec<_> = story.stripe.calls().into_iter().map(|call| call.line).collect();
    assert_eq!(lines.last().unwrap(), "DELETE /v1/subscriptions/sub_1");
}

#[tokio::test]
async fn an_unpaid_checkout_can_be_given_up() {
    let story = Story::begin().await;
    let user = UserId::new();
    story.billing.subscribe(user, "paid").await.unwrap();
    let over = story.billing.cancel(user).await.unwrap();
    assert_eq!(over.state(), SubscriptionState::Canceled);
    let lines: Vec<_> = story.stripe.calls().into_iter().map(|call| call.line).collect();
    assert_eq!(lines, ["POST /v1/checkout/sessions", "POST /v1/checkout/sessions/cs_1/expire"]);
}

#[tokio::test]
async fn forged_reports_are_refused_and_change_nothing() {
    let story = Story::begin().await;
    let user = UserId::new();
    let report = subscription_report("evt_1", user, 1_800_000_000, "active", "price_paid");
    let payload = serde_json::to_vec(&report).unwrap();
    let now = chrono::Utc::now().timestamp();
    let cases = [
        ("no signature", String::new()),
        ("too old", signature(&payload, now - 301)),
        ("of another payload", signature(b"{}", now)),
        ("garbage", "t=now,v1=zz".into()),
    ];
    for (what, signature) in cases {
        let refused = story.deliver(payload.clone(), &signature).await.unwrap_err();
        assert!(refused.is(&WEBHOOK_SIGNATURE_INVALID), "{what}: {refused}");
    }
    assert_eq!(story.billing.subscription(user).await.plan, "free");
}

#[tokio::test]
async fn reports_of_no_interest_or_nobody_are_taken_in_quietly() {
    let story = Story::begin().await;
    let other = json!({"id": "evt_1", "type": "invoice.created", "created": 1, "data": {}});
    assert!(!story.report(&other).await.unwrap());
    let mut nobody =
        subscription_report("evt_2", UserId::new(), 1_800_000_000, "active", "price_paid");
    nobody["data"]["object"]["metadata"] = json!({});
    assert!(!story.report(&nobody).await.unwrap());
}

#[tokio::test]
async fn with_stripe_away_nothing_is_changed() {
    let story = Story::begin().await;
    let user = UserId::new();
    story.stripe.set_down(true);
    let refused = story.billing.subscribe(user, "paid").await.unwrap_err();
    assert!(refused.is(&PROVIDER_UNAVAILABLE), "{refused}");
    assert!(refused.retry_after_hint().is_some());
    let audited = eventually("the refusal is audited", async || {
        story.billing.mesh.events::<CallAudited>().await.into_iter().next()
    })
    .await;
    assert_eq!(audited.outcome, "UNAVAILABLE");
    assert_eq!(story.billing.subscription(user).await.state(), SubscriptionState::Active);
    story.stripe.set_down(false);
    assert_eq!(story.billing.subscribe(user, "paid").await.unwrap().pending_plan, "paid");
}
