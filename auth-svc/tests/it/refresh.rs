//! Sessions are refreshed and ended.

use std::time::Duration;

use auth_svc::config::Config;
use mainstay::contract::auth::proto::{SessionEndReason, SessionEnded};
use mainstay::contract::auth::{TOKEN_INVALID, TOKEN_REUSED};
use mainstay::kernel::error::UNAUTHENTICATED;
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Auth, PASSWORD, quick, unverified};

crate::stories! {
    a_refresh_gives_new_tokens_of_the_same_session,
    a_token_used_twice_ends_its_session,
    of_two_uses_at_the_same_time_at_most_one_succeeds,
    unknown_tokens_are_refused,
    a_logout_ends_the_session_and_may_be_repeated,
}

async fn a_refresh_gives_new_tokens_of_the_same_session(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, mut tokens) = auth.logged_in("ada@example.com").await;
    let session = unverified(&tokens)["sid"].clone();
    for _ in 0..3 {
        let next = auth.refresh(&tokens.refresh_token).await.unwrap();
        assert_ne!(next.refresh_token, tokens.refresh_token);
        assert_eq!(auth.claims(&next).await.unwrap().sid, session);
        tokens = next;
    }
    assert_eq!(auth.sessions(&tokens).await.len(), 1);
}

async fn a_token_used_twice_ends_its_session(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, stolen) = auth.logged_in("ada@example.com").await;
    let elsewhere = auth.login("ada@example.com", PASSWORD).await.unwrap();
    let next = auth.refresh(&stolen.refresh_token).await.unwrap();

    let error = auth.refresh(&stolen.refresh_token).await.unwrap_err();
    assert!(error.is(&TOKEN_REUSED), "{error}");
    assert_eq!(error.code().http, 401);
    let error = auth.refresh(&next.refresh_token).await.unwrap_err();
    assert!(error.is(&TOKEN_INVALID), "the whole family is over: {error}");
    let error = auth.claims(&next).await.unwrap_err();
    assert!(error.is(&UNAUTHENTICATED), "its access tokens too: {error}");
    auth.refresh(&elsewhere.refresh_token).await.expect("other sessions go on");

    let told =
        eventually("the end is told", async || auth.mesh.events::<SessionEnded>().await.pop())
            .await;
    assert_eq!(told.session_id, unverified(&next)["sid"]);
    assert_eq!(told.reason(), SessionEndReason::TokenReuse);
}

async fn of_two_uses_at_the_same_time_at_most_one_succeeds(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let token = &tokens.refresh_token;
    let (one, other) = tokio::join!(auth.refresh(token), auth.refresh(token));
    let refused: Vec<_> = [one, other].into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].is(&TOKEN_REUSED), "{}", refused[0]);
}

async fn unknown_tokens_are_refused(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let altered = format!("{}x", tokens.refresh_token);
    for token in ["x", altered.as_str(), tokens.access_token.get(..300).unwrap(), "💥"] {
        let error = auth.refresh(token).await.unwrap_err();
        assert!(error.is(&TOKEN_INVALID), "{token}: {error}");
        assert!(!error.to_string().contains(token));
    }
    auth.refresh(&tokens.refresh_token).await.expect("the session is untouched");
}

async fn a_logout_ends_the_session_and_may_be_repeated(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    for token in [&tokens.refresh_token, &tokens.refresh_token, "unknown"] {
        auth.logout(token).await.unwrap();
    }
    let error = auth.refresh(&tokens.refresh_token).await.unwrap_err();
    assert!(error.is(&TOKEN_INVALID), "{error}");
    let error = auth.claims(&tokens).await.unwrap_err();
    assert!(error.is(&UNAUTHENTICATED), "{error}");
    let told =
        eventually("the end is told", async || auth.mesh.events::<SessionEnded>().await.pop())
            .await;
    assert_eq!(told.reason(), SessionEndReason::Logout);
    assert_eq!(auth.mesh.events::<SessionEnded>().await.len(), 1, "it ended once");
}

#[tokio::test]
async fn an_idle_session_expires() {
    let config = Config { session_idle_life: Duration::from_millis(300), ..quick() };
    let auth = Auth::start_with(Transport::Grpc, config).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    eventually("the session expires", async || {
        auth.sessions(&tokens).await.is_empty().then_some(())
    })
    .await;
    let error = auth.refresh(&tokens.refresh_token).await.unwrap_err();
    assert!(error.is(&TOKEN_INVALID), "{error}");
}
