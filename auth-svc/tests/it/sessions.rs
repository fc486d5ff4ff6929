//! Users see and revoke their sessions; verifiers hear of it.

use mainstay::contract::auth::proto::{
    ListRevocationsRequest, ListSessionsRequest, RevokeSessionRequest, TokenPair,
};
use mainstay::contract::auth::{
    AuthClient as _, GrpcAuthClient, SERVICE, SESSION_NOT_FOUND, SessionId, TOKEN_INVALID,
};
use mainstay::kernel::Result;
use mainstay::kernel::error::{INVALID_ARGUMENT, UNAUTHENTICATED};
use mainstay::kernel::settings::Transport;

use crate::harness::{Auth, PASSWORD, unverified};

crate::stories! {
    the_list_shows_live_sessions_and_marks_ones_own,
    pages_show_every_session_once,
    a_revoked_session_is_over,
    sessions_of_others_do_not_exist,
    services_hear_of_revocations,
}

async fn revoke(auth: &Auth, tokens: &TokenPair, session_id: &str) -> Result<()> {
    let request = RevokeSessionRequest { session_id: session_id.into() };
    auth.as_holder(tokens, auth.client().revoke_session(request)).await.map(drop)
}

fn session_id(tokens: &TokenPair) -> String {
    unverified(tokens)["sid"].as_str().unwrap().to_owned()
}

async fn the_list_shows_live_sessions_and_marks_ones_own(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, first) = auth.logged_in("ada@example.com").await;
    auth.logged_in("eve@example.com").await;
    let second = auth.login("ada@example.com", PASSWORD).await.unwrap();
    let third = auth.login("ada@example.com", PASSWORD).await.unwrap();
    auth.logout(&third.refresh_token).await.unwrap();

    let sessions = auth.sessions(&first).await;
    let ids: Vec<_> = sessions.iter().map(|session| session.id.clone()).collect();
    assert_eq!(ids, [session_id(&second), session_id(&first)], "newest first");
    let current: Vec<_> = sessions.iter().map(|session| session.current).collect();
    assert_eq!(current, [false, true]);
    for session in &sessions {
        assert!(session.create_time.is_some() && session.expire_time.is_some());
    }
    let nobody = auth.client().list_sessions(ListSessionsRequest::default()).await.unwrap_err();
    assert!(nobody.is(&UNAUTHENTICATED), "{nobody}");
}

async fn pages_show_every_session_once(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let mut expected = vec![session_id(&tokens)];
    for _ in 0..4 {
        expected.push(session_id(&auth.login("ada@example.com", PASSWORD).await.unwrap()));
    }
    expected.reverse();
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSessionsRequest { page_size: 2, page_token };
        let page = auth.as_holder(&tokens, auth.client().list_sessions(request)).await.unwrap();
        seen.extend(page.sessions.into_iter().map(|session| session.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let request = ListSessionsRequest { page_token: "nonsense".into(), ..Default::default() };
    let error = auth.as_holder(&tokens, auth.client().list_sessions(request)).await.unwrap_err();
    assert!(error.is(&INVALID_ARGUMENT), "{error}");
}

async fn a_revoked_session_is_over(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, mine) = auth.logged_in("ada@example.com").await;
    let lost = auth.login("ada@example.com", PASSWORD).await.unwrap();
    for _ in 0..2 {
        revoke(&auth, &mine, &session_id(&lost)).await.expect("may be repeated");
    }
    let error = auth.refresh(&lost.refresh_token).await.unwrap_err();
    assert!(error.is(&TOKEN_INVALID), "{error}");
    assert!(auth.claims(&lost).await.unwrap_err().is(&UNAUTHENTICATED));
    auth.claims(&mine).await.expect("one's own goes on");
    assert_eq!(auth.sessions(&mine).await.len(), 1);
}

async fn sessions_of_others_do_not_exist(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, ada) = auth.logged_in("ada@example.com").await;
    let (_, eve) = auth.logged_in("eve@example.com").await;
    for id in [session_id(&ada), SessionId::new().to_string()] {
        let error = revoke(&auth, &eve, &id).await.unwrap_err();
        assert!(error.is(&SESSION_NOT_FOUND), "{error}");
        assert_eq!(error.code().http, 404);
    }
    let error = revoke(&auth, &eve, "no id").await.unwrap_err();
    assert!(error.is(&INVALID_ARGUMENT), "{error}");
    auth.refresh(&ada.refresh_token).await.expect("hers is untouched");
}

async fn services_hear_of_revocations(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (_, mine) = auth.logged_in("ada@example.com").await;
    let service = GrpcAuthClient::new(auth.mesh.channel("billing-svc", SERVICE));
    let all = ListRevocationsRequest { since: None };
    let before = service.list_revocations(all).await.unwrap();
    assert!(before.session_ids.is_empty());

    auth.logout(&mine.refresh_token).await.unwrap();
    for since in [None, before.as_of] {
        let told = service.list_revocations(ListRevocationsRequest { since }).await.unwrap();
        assert_eq!(told.session_ids, [session_id(&mine)], "since {since:?}");
        assert!(told.as_of.unwrap().seconds >= before.as_of.unwrap().seconds);
    }
    let later = prost_types::Timestamp { seconds: before.as_of.unwrap().seconds + 3600, nanos: 0 };
    let told = service.list_revocations(ListRevocationsRequest { since: Some(later) }).await;
    assert!(told.unwrap().session_ids.is_empty());
    for seconds in [i64::MIN, i64::MAX] {
        let since = Some(prost_types::Timestamp { seconds, nanos: 0 });
        let error = service.list_revocations(ListRevocationsRequest { since }).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{error}");
    }
}
