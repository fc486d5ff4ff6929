//! Administrators list users.

use mainstay::contract::identity::IdentityClient as _;
use mainstay::contract::identity::proto::{ListUsersRequest, ListUsersResponse};
use mainstay::kernel::Result;
use mainstay::kernel::error::{INVALID_ARGUMENT, PERMISSION_DENIED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::as_user;

use crate::harness::{Identity, fields};

crate::stories! {
    pages_show_everyone_once_newest_first,
    an_address_finds_its_user_in_any_case,
    listing_needs_permission,
    bad_pages_are_named,
}

async fn list(identity: &Identity, request: ListUsersRequest) -> Result<ListUsersResponse> {
    as_user(&identity.admin, identity.client().list_users(request)).await
}

async fn pages_show_everyone_once_newest_first(transport: Transport) {
    let identity = Identity::start(transport).await;
    // All have the same time: the id decides.
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.push(identity.create(&format!("user{n}@example.com"), "User").await.id);
    }
    expected.reverse();
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListUsersRequest { page_size: 2, page_token, ..Default::default() };
        let page = list(&identity, request).await.unwrap();
        assert!(page.users.len() <= 2 && page.total_size.is_none());
        seen.extend(page.users.into_iter().map(|user| user.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let request = ListUsersRequest { page_size: 1, include_total: true, ..Default::default() };
    assert_eq!(list(&identity, request).await.unwrap().total_size, Some(5));
}

async fn an_address_finds_its_user_in_any_case(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("Ada@Example.com", "Ada").await;
    identity.create("eve@example.com", "Eve").await;
    let find = async |email: &str| {
        let request =
            ListUsersRequest { email: email.into(), include_total: true, ..Default::default() };
        list(&identity, request).await.unwrap()
    };
    for email in ["ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.com"] {
        let page = find(email).await;
        assert_eq!((page.users, page.total_size), (vec![ada.clone()], Some(1)), "{email}");
    }
    assert!(find("nobody@example.com").await.users.is_empty());
}

async fn listing_needs_permission(transport: Transport) {
    let identity = Identity::start(transport).await;
    let eve = identity.create("eve@example.com", "Eve").await;
    let request = ListUsersRequest::default();
    let error = as_user(&eve.id, identity.client().list_users(request)).await.unwrap_err();
    assert!(error.is(&PERMISSION_DENIED), "{error}");
}

async fn bad_pages_are_named(transport: Transport) {
    let identity = Identity::start(transport).await;
    let token = |token: &str| ListUsersRequest { page_token: token.into(), ..Default::default() };
    let size = |page_size| ListUsersRequest { page_size, ..Default::default() };
    for (field, request) in [
        ("page_token", token("not a token")),
        ("page_token", token("AAAA")),
        ("page_size", size(-1)),
        ("page_size", size(201)),
    ] {
        let error = list(&identity, request.clone()).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{request:?}: {error}");
        assert_eq!(fields(&error), [field], "{request:?}");
    }
}
