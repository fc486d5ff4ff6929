//! Users make API keys, and whoever has one calls in their name until it is over.

use std::time::{Duration, SystemTime};

use auth_svc::config::Config;
use mainstay::contract::auth::proto::{
    ApiKey, CreateApiKeyRequest, CreateApiKeyResponse, ExchangeApiKeyRequest, ListApiKeysRequest,
    RevokeApiKeyRequest, TokenPair,
};
use mainstay::contract::auth::{
    API_KEY_INVALID, API_KEY_NOT_FOUND, ApiKeyId, AuthClient as _, GrpcAuthClient, LOGIN_NEEDED,
    SERVICE, TOO_MANY_API_KEYS,
};
use mainstay::contract::identity::proto::UserDeleted;
use mainstay::kernel::Result;
use mainstay::kernel::error::{INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;
use prost_types::Timestamp;

use crate::harness::{Auth, fields, quick};

crate::stories! {
    a_key_is_exchanged_for_tokens_of_its_owner_until_it_is_revoked,
    a_key_is_over_when_its_owner_said,
    only_a_session_of_ones_own_makes_keys,
    nobody_has_more_keys_than_allowed,
    keys_of_others_do_not_exist,
    pages_show_every_key_once,
    only_the_gateway_exchanges_keys,
    keys_end_with_their_user,
}

async fn create(auth: &Auth, tokens: &TokenPair, name: &str) -> Result<CreateApiKeyResponse> {
    let request = CreateApiKeyRequest { display_name: name.into(), expire_time: None };
    auth.as_holder(tokens, auth.client().create_api_key(request)).await
}

async fn revoke(auth: &Auth, tokens: &TokenPair, id: &str) -> Result<()> {
    let request = RevokeApiKeyRequest { api_key_id: id.into() };
    auth.as_holder(tokens, auth.client().revoke_api_key(request)).await.map(drop)
}

async fn list(auth: &Auth, tokens: &TokenPair) -> Vec<ApiKey> {
    let request = ListApiKeysRequest::default();
    auth.as_holder(tokens, auth.client().list_api_keys(request)).await.unwrap().api_keys
}

/// The access token of a key, as a pair with no refresh token.
async fn exchange(auth: &Auth, key: &str) -> Result<TokenPair> {
    let request = ExchangeApiKeyRequest { key: key.into() };
    let reply = auth.client().exchange_api_key(request).await?;
    Ok(TokenPair {
        access_token: reply.access_token,
        expires_in: reply.expires_in,
        ..TokenPair::default()
    })
}

fn id(made: &CreateApiKeyResponse) -> &str {
    &made.api_key.as_ref().unwrap().id
}

fn in_seconds(seconds: u64) -> Option<Timestamp> {
    Some((SystemTime::now() + Duration::from_secs(seconds)).into())
}

async fn a_key_is_exchanged_for_tokens_of_its_owner_until_it_is_revoked(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (user, tokens) = auth.logged_in("ada@example.com").await;
    let made = create(&auth, &tokens, "deploy").await.unwrap();
    let known = list(&auth, &tokens).await;
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].display_name.as_str(), known[0].use_time), ("deploy", None));
    assert!(made.key.starts_with(&known[0].prefix) && known[0].prefix.len() < 20);

    let by_key = exchange(&auth, &made.key).await.unwrap();
    let claims = auth.claims(&by_key).await.unwrap();
    assert_eq!((claims.sub.as_str(), claims.sid.as_str()), (user.id.as_str(), id(&made)));
    assert_eq!(claims.roles, ["member"]);
    assert_eq!(u64::try_from(by_key.expires_in).unwrap(), claims.exp - claims.iat);
    assert!(list(&auth, &tokens).await[0].use_time.is_some());
    assert_eq!(auth.sessions(&tokens).await.len(), 1, "a key is no session of the list");

    for _ in 0..2 {
        revoke(&auth, &tokens, id(&made)).await.expect("may be repeated");
    }
    assert!(exchange(&auth, &made.key).await.unwrap_err().is(&API_KEY_INVALID));
    assert!(auth.claims(&by_key).await.unwrap_err().is(&UNAUTHENTICATED));
    assert!(list(&auth, &tokens).await.is_empty());
    auth.claims(&tokens).await.expect("the session goes on");
    for key in [&made.key[..made.key.len() - 1], &made.key["mainstay_".len()..], "mainstay_x"] {
        assert!(exchange(&auth, key).await.unwrap_err().is(&API_KEY_INVALID), "{key}");
    }
}

async fn a_key_is_over_when_its_owner_said(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let create = async |expire_time| {
        let request = CreateApiKeyRequest { display_name: "short".into(), expire_time };
        auth.as_holder(&tokens, auth.client().create_api_key(request)).await
    };
    let made = create(in_seconds(3)).await.unwrap();
    let by_key = exchange(&auth, &made.key).await.unwrap();
    assert!(by_key.expires_in <= 3, "a token never outlives its key: {}", by_key.expires_in);
    eventually("the key is over", async || {
        exchange(&auth, &made.key).await.is_err_and(|e| e.is(&API_KEY_INVALID)).then_some(())
    })
    .await;
    assert!(list(&auth, &tokens).await.is_empty());

    let day = 86_400;
    let past = Some(Timestamp { seconds: 1, nanos: 0 });
    let no_time = Some(Timestamp { seconds: i64::MAX, nanos: -1 });
    for expire_time in [past, in_seconds(367 * day), no_time] {
        let error = create(expire_time).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{error}");
        assert_eq!(fields(&error), ["expire_time"]);
    }
    create(in_seconds(365 * day)).await.expect("allowed");
}

async fn only_a_session_of_ones_own_makes_keys(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let (_, eve) = auth.logged_in("eve@example.com").await;
    let made = create(&auth, &tokens, "deploy").await.unwrap();
    let by_key = exchange(&auth, &made.key).await.unwrap();
    let error = create(&auth, &by_key, "another").await.unwrap_err();
    assert!(error.is(&LOGIN_NEEDED) && error.code().http == 403, "{error}");
    assert_eq!(list(&auth, &by_key).await.len(), 1, "it may look");

    auth.logout(&eve.refresh_token).await.unwrap();
    assert!(create(&auth, &eve, "late").await.unwrap_err().is(&LOGIN_NEEDED));
    let error = create(&auth, &tokens, " ").await.unwrap_err();
    assert_eq!(fields(&error), ["display_name"]);
    let request = CreateApiKeyRequest { display_name: "x".into(), expire_time: None };
    assert!(auth.client().create_api_key(request).await.unwrap_err().is(&UNAUTHENTICATED));
}

async fn nobody_has_more_keys_than_allowed(transport: Transport) {
    let config = Config { api_keys_per_user: 2, ..quick() };
    let auth = Auth::start_with(transport, config).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let attempt = || create(&auth, &tokens, "deploy");
    let made = tokio::join!(attempt(), attempt(), attempt(), attempt());
    let made = [made.0, made.1, made.2, made.3].into_iter();
    let (made, refused): (Vec<_>, Vec<_>) = made.partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (2, 2), "however many ask at once");
    for error in refused {
        let error = error.unwrap_err();
        assert!(error.is(&TOO_MANY_API_KEYS) && error.code().http == 409, "{error}");
    }
    let keys = list(&auth, &tokens).await;
    revoke(&auth, &tokens, &keys[0].id).await.unwrap();
    create(&auth, &tokens, "next").await.expect("one is over");
}

async fn keys_of_others_do_not_exist(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, ada) = auth.logged_in("ada@example.com").await;
    let (_, eve) = auth.logged_in("eve@example.com").await;
    let made = create(&auth, &ada, "deploy").await.unwrap();
    assert!(list(&auth, &eve).await.is_empty());
    for id in [id(&made), &ApiKeyId::new().to_string()] {
        assert!(revoke(&auth, &eve, id).await.unwrap_err().is(&API_KEY_NOT_FOUND));
    }
    assert!(revoke(&auth, &eve, "no id").await.unwrap_err().is(&INVALID_ARGUMENT));
    exchange(&auth, &made.key).await.expect("hers is untouched");
}

async fn pages_show_every_key_once(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let mut expected = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        expected.insert(0, create(&auth, &tokens, name).await.unwrap().api_key.unwrap().id);
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListApiKeysRequest { page_size: 2, page_token };
        let page = auth.as_holder(&tokens, auth.client().list_api_keys(request)).await.unwrap();
        seen.extend(page.api_keys.into_iter().map(|key| key.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, expected, "newest first");
}

async fn only_the_gateway_exchanges_keys(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let key = create(&auth, &tokens, "deploy").await.unwrap().key;
    let service = GrpcAuthClient::new(auth.mesh.channel("billing-svc", SERVICE));
    let error = service.exchange_api_key(ExchangeApiKeyRequest { key }).await.unwrap_err();
    assert!(error.is(&PERMISSION_DENIED), "{error}");
}

async fn keys_end_with_their_user(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (ada, tokens) = auth.logged_in("ada@example.com").await;
    let made = create(&auth, &tokens, "deploy").await.unwrap();
    let by_key = exchange(&auth, &made.key).await.unwrap();
    auth.mesh.publish(&UserDeleted { user_id: ada.id.clone() }).await;
    eventually("the key is refused", async || {
        exchange(&auth, &made.key).await.is_err_and(|e| e.is(&API_KEY_INVALID)).then_some(())
    })
    .await;
    assert!(auth.claims(&by_key).await.unwrap_err().is(&UNAUTHENTICATED));
}
