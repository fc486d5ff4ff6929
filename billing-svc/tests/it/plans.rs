//! The catalogue.

use billing_svc::config::Config;
use mainstay::contract::billing::proto::ListPlansRequest;
use mainstay::kernel::settings::Transport;

use crate::harness::{Billing, TRANSPORTS};

#[tokio::test]
async fn plans_are_listed_cheapest_first_page_by_page() {
    for transport in TRANSPORTS {
        let billing = Billing::start(Config::default(), transport).await;
        let mut ids = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListPlansRequest { page_size: 2, page_token };
            let page = billing.client.list_plans(request).await.unwrap();
            assert!(page.plans.len() <= 2);
            ids.extend(page.plans.into_iter().map(|plan| plan.id));
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        assert_eq!(ids, ["free", "paid", "ai"], "{transport:?}");
    }
}

#[tokio::test]
async fn a_page_token_that_nobody_gave_is_refused() {
    let billing = Billing::start(Config::default(), Transport::Grpc).await;
    let request = ListPlansRequest { page_size: 0, page_token: "forged".into() };
    let refused = billing.client.list_plans(request).await.unwrap_err();
    assert_eq!(refused.code().http, 400);
    assert_eq!(refused.violations()[0].field, "page_token");
}

#[tokio::test]
async fn another_catalogue_is_read_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "[[plan]]\nid = \"free\"\ntitle = \"Free\"\nprice_minor_units = 0\ncurrency = \"CHF\"\n",
    )
    .unwrap();
    let config = Config { catalogue_file: Some(file.path().to_path_buf()), ..Config::default() };
    let billing = Billing::start(config, Transport::Grpc).await;
    let listed = billing.client.list_plans(ListPlansRequest::default()).await.unwrap();
    let [plan] = &listed.plans[..] else { panic!("one plan: {listed:?}") };
    assert_eq!((plan.id.as_str(), plan.currency.as_str()), ("free", "CHF"));
}
