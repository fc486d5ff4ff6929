//! Users change their passwords.

use mainstay::contract::auth::proto::{
    ChangePasswordRequest, PasswordChanged, SessionEndReason, SessionEnded, TokenPair,
};
use mainstay::contract::auth::{AuthClient as _, INVALID_CREDENTIALS, TOKEN_INVALID};
use mainstay::kernel::Result;
use mainstay::kernel::error::{INVALID_ARGUMENT, RATE_LIMITED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Auth, PASSWORD, fields, unverified};

crate::stories! {
    a_new_password_ends_the_other_sessions,
    the_current_password_is_needed,
    guessing_the_current_password_is_braked,
}

const NEW: &str = "a better horse battery";

async fn change(auth: &Auth, tokens: &TokenPair, current: &str, new: &str) -> Result<()> {
    let request =
        ChangePasswordRequest { current_password: current.into(), new_password: new.into() };
    auth.as_holder(tokens, auth.client().change_password(request)).await.map(drop)
}

async fn a_new_password_ends_the_other_sessions(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (ada, mine) = auth.logged_in("ada@example.com").await;
    let other = auth.login("ada@example.com", PASSWORD).await.unwrap();
    let (_, eve) = auth.logged_in("eve@example.com").await;
    change(&auth, &mine, PASSWORD, NEW).await.unwrap();

    let error = auth.refresh(&other.refresh_token).await.unwrap_err();
    assert!(error.is(&TOKEN_INVALID), "{error}");
    auth.refresh(&mine.refresh_token).await.expect("one's own session goes on");
    auth.refresh(&eve.refresh_token).await.expect("other users' sessions go on");
    let error = auth.login("ada@example.com", PASSWORD).await.unwrap_err();
    assert!(error.is(&INVALID_CREDENTIALS), "{error}");
    auth.login("ada@example.com", NEW).await.unwrap();

    let told = eventually("the change is told", async || {
        auth.mesh.events::<PasswordChanged>().await.pop()
    })
    .await;
    assert_eq!(told.user_id, ada.id);
    let ended = auth.mesh.events::<SessionEnded>().await;
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].session_id, unverified(&other)["sid"]);
    assert_eq!(ended[0].reason(), SessionEndReason::PasswordChanged);
}

async fn the_current_password_is_needed(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    for (field, current, new) in [
        ("current_password", "wrong horse battery", NEW),
        ("new_password", PASSWORD, "short"),
        ("current_password", "", NEW),
    ] {
        let error = change(&auth, &tokens, current, new).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{error}");
        assert_eq!(fields(&error), [field]);
    }
    auth.login("ada@example.com", PASSWORD).await.expect("nothing was changed");
}

async fn guessing_the_current_password_is_braked(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    for _ in 0..10 {
        change(&auth, &tokens, "wrong horse battery", NEW).await.unwrap_err();
    }
    let error = change(&auth, &tokens, PASSWORD, NEW).await.unwrap_err();
    assert!(error.is(&RATE_LIMITED), "{error}");
}
