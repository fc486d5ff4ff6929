//! Users log in.

use std::time::Duration;

use auth_svc::config::Config;
use mainstay::contract::auth::proto::SessionStarted;
use mainstay::contract::auth::{AuthClient as _, INVALID_CREDENTIALS, OVERLOADED};
use mainstay::kernel::error::{INVALID_ARGUMENT, RATE_LIMITED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Auth, PASSWORD, fields, header, quick, unverified};

crate::stories! {
    a_login_gives_tokens_that_verify,
    who_does_not_exist_looks_like_a_wrong_password,
    guessing_is_braked_for_known_and_unknown_alike,
    a_right_password_forgets_wrong_ones,
    bad_input_is_named,
}

async fn a_login_gives_tokens_that_verify(transport: Transport) {
    let auth = Auth::start(transport).await;
    let ada = auth.register("Ada@Example.com").await.unwrap();
    let tokens = auth.login(" ada@example.COM ", PASSWORD).await.unwrap();
    assert_eq!((tokens.token_type.as_str(), tokens.expires_in), ("Bearer", 600));

    let claims = auth.claims(&tokens).await.unwrap();
    assert_eq!((claims.iss.as_str(), claims.aud.as_str()), ("http://localhost:8080", "mainstay"));
    assert_eq!((&claims.sub, claims.plan.as_str()), (&ada.id, "free"));
    assert_eq!(claims.roles, ["member"]);
    assert_eq!((claims.exp - claims.iat, claims.nbf), (600, claims.iat));
    let header = header(&tokens);
    assert_eq!((&header["typ"], &header["alg"]), (&"at+jwt".into(), &"EdDSA".into()));
    assert_eq!(header["kid"], auth.kids().await[0]);

    let told = eventually("the session is told of", async || {
        auth.mesh.events::<SessionStarted>().await.pop()
    })
    .await;
    assert_eq!((told.user_id, told.session_id), (ada.id, claims.sid.clone()));
}

async fn who_does_not_exist_looks_like_a_wrong_password(transport: Transport) {
    let auth = Auth::start(transport).await;
    auth.register("ada@example.com").await.unwrap();
    let wrong = auth.login("ada@example.com", "wrong horse battery").await.unwrap_err();
    let unknown = auth.login("eve@example.com", PASSWORD).await.unwrap_err();
    assert!(wrong.is(&INVALID_CREDENTIALS), "{wrong}");
    assert_eq!(wrong.code().http, 401);
    assert_eq!(wrong.to_string(), unknown.to_string());
    assert_eq!(wrong.details(), unknown.details());
}

async fn guessing_is_braked_for_known_and_unknown_alike(transport: Transport) {
    let auth = Auth::start(transport).await;
    auth.register("ada@example.com").await.unwrap();
    auth.register("bob@example.com").await.unwrap();
    for email in ["ada@example.com", "nobody@example.com"] {
        for _ in 0..10 {
            let error = auth.login(email, "wrong horse battery").await.unwrap_err();
            assert!(error.is(&INVALID_CREDENTIALS), "{email}: {error}");
        }
        let error = auth.login(&email.to_uppercase(), PASSWORD).await.unwrap_err();
        assert!(error.is(&RATE_LIMITED), "{email}: {error}");
        let pause = error.retry_after_hint().unwrap();
        assert!(pause > Duration::from_secs(800) && pause <= Duration::from_secs(900));
    }
    auth.login("bob@example.com", PASSWORD).await.expect("others are not braked");
}

async fn a_right_password_forgets_wrong_ones(transport: Transport) {
    let auth = Auth::start_with(transport, Config { login_attempts: 2, ..quick() }).await;
    auth.register("ada@example.com").await.unwrap();
    for _ in 0..3 {
        auth.login("ada@example.com", "wrong horse battery").await.unwrap_err();
        auth.login("ada@example.com", PASSWORD).await.unwrap();
    }
}

async fn bad_input_is_named(transport: Transport) {
    let auth = Auth::start(transport).await;
    let long = "x".repeat(300);
    for (field, email, password) in [
        ("email", "", PASSWORD),
        ("email", long.as_str(), PASSWORD),
        ("password", "ada@example.com", ""),
        ("password", "ada@example.com", long.as_str()),
    ] {
        let error = auth.login(email, password).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{field}: {error}");
        assert_eq!(fields(&error), [field]);
    }
}

#[tokio::test]
async fn a_flood_of_logins_is_refused_in_time() {
    let config = Config { password_concurrency: 1, password_queue: 1, ..Config::default() };
    let auth = Auth::start_with(Transport::Grpc, config).await;
    auth.register("ada@example.com").await.unwrap();
    let client = auth.client();
    let logins = (0..20).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let (email, password) = ("ada@example.com".into(), PASSWORD.into());
            client.login(mainstay::contract::auth::proto::LoginRequest { email, password }).await
        })
    });
    let (mut served, mut refused) = (0, 0);
    for login in logins.collect::<Vec<_>>() {
        match login.await.unwrap() {
            Ok(_) => served += 1,
            Err(error) => {
                assert!(error.is(&OVERLOADED), "{error}");
                assert_eq!(error.code().http, 503);
                assert!(error.retry_after_hint().is_some());
                refused += 1;
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    auth.login("ada@example.com", PASSWORD).await.expect("the flood is over");
}

#[tokio::test]
async fn a_password_is_hashed_anew_when_the_cost_changes() {
    let mut auth = Auth::start(Transport::Grpc).await;
    auth.register("ada@example.com").await.unwrap();
    auth.end().await;
    auth.config.password_passes = 2;
    auth.begin().await;
    for _ in 0..2 {
        auth.login("ada@example.com", PASSWORD).await.unwrap();
    }
    let hash = stored_hash(&auth).await;
    assert!(hash.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{hash}");
}

async fn stored_hash(auth: &Auth) -> String {
    use sea_orm::ConnectionTrait as _;
    let settings = auth.mesh.database_settings("auth-svc");
    let database = mainstay::kernel::database::Database::open("auth-svc", &settings).unwrap();
    let database = database.connection();
    let query = sea_orm::Statement::from_string(
        database.get_database_backend(),
        "SELECT password_hash FROM account",
    );
    database.query_one_raw(query).await.unwrap().unwrap().try_get("", "password_hash").unwrap()
}

#[tokio::test]
async fn each_login_is_a_session_of_its_own() {
    let auth = Auth::start(Transport::Grpc).await;
    let (_, one) = auth.logged_in("ada@example.com").await;
    let other = auth.login("ada@example.com", PASSWORD).await.unwrap();
    assert_ne!(unverified(&one)["sid"], unverified(&other)["sid"]);
    assert_ne!(unverified(&one)["jti"], unverified(&other)["jti"]);
    assert_ne!(one.refresh_token, other.refresh_token);
}
