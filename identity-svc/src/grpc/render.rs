//! Domain types become messages of the contract.

use mainstay::contract::identity::proto::{self, ListUsersResponse};
use mainstay::kernel::page::PageToken;
use mainstay::kernel::time::timestamp;
use tonic::Response;

use crate::app::UserPage;
use crate::domain::{ProfileField, User};

/// One user.
pub fn user(user: &User) -> Response<proto::User> {
    Response::new(message(user))
}

/// A page of users.
pub fn user_page(page: &UserPage) -> Response<ListUsersResponse> {
    let next = page.next.map(|(time, id)| {
        PageToken::new([time.timestamp_micros().to_string(), id.to_string()]).encode()
    });
    Response::new(ListUsersResponse {
        users: page.users.iter().map(message).collect(),
        next_page_token: next.unwrap_or_default(),
        total_size: page.total.map(|total| i32::try_from(total).unwrap_or(i32::MAX)),
    })
}

fn message(user: &User) -> proto::User {
    let value = |field| user.profile.get(field).to_owned();
    proto::User {
        id: user.id.to_string(),
        email: user.email.as_typed().to_owned(),
        display_name: value(ProfileField::DisplayName),
        locale: value(ProfileField::Locale),
        time_zone: value(ProfileField::TimeZone),
        avatar_url: value(ProfileField::AvatarUrl),
        bio: value(ProfileField::Bio),
        create_time: Some(timestamp(user.create_time)),
        update_time: Some(timestamp(user.update_time)),
        delete_time: user.delete_time.map(timestamp),
        etag: user.etag(),
    }
}
