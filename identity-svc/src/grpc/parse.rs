//! Messages of the contract become types that cannot be wrong.

use chrono::{DateTime, Utc};
use mainstay::contract::identity::UserId;
use mainstay::contract::identity::proto::{ListUsersRequest, User};
use mainstay::kernel::call;
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::page::{PageRequest, PageToken};
use prost_types::{FieldMask, Timestamp};

use crate::app::UserQuery;
use crate::domain::{Email, ProfileChange, ProfileField, UserFilter};

/// The user who calls.
pub fn caller() -> Result<UserId> {
    UserId::parse(&call::current_user()?.id)
}

/// A time that must be there.
pub fn required_time(field: &str, time: Option<Timestamp>) -> Result<DateTime<Utc>> {
    self::time(field, time.ok_or_else(|| Error::invalid(field, "is required"))?)
}

/// A time.
pub fn time(field: &str, time: Timestamp) -> Result<DateTime<Utc>> {
    u32::try_from(time.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos))
        .ok_or_else(|| Error::invalid(field, "is not a time"))
}

/// Which page of which users.
pub fn user_query(request: &ListUsersRequest) -> Result<UserQuery> {
    let page = PageRequest::parse(request.page_size, &request.page_token)?;
    let email_key = Email::key_of(&request.email);
    Ok(UserQuery {
        filter: UserFilter {
            email_key: (!email_key.is_empty()).then_some(email_key),
            show_deleted: request.show_deleted,
        },
        after: page.after.as_ref().map(position).transpose()?,
        limit: page.size,
        include_total: request.include_total,
    })
}

/// The position that a page token names.
fn position(token: &PageToken) -> Result<(DateTime<Utc>, UserId)> {
    let [time, id] = token.columns()?;
    let time = time.parse().ok().and_then(DateTime::from_timestamp_micros);
    let id = UserId::parse(id).map_err(|_| PageToken::refused())?;
    Ok((time.ok_or_else(PageToken::refused)?, id))
}

/// The new values that a mask selects. With no mask, the fields that have a value (AIP-134).
pub fn profile_change(user: &User, mask: Option<FieldMask>) -> Result<ProfileChange> {
    let paths = mask.unwrap_or_default().paths;
    let fields = match paths.is_empty() {
        true => {
            ProfileField::ALL.into_iter().filter(|field| !value(user, *field).is_empty()).collect()
        }
        false => masked(&paths)?,
    };
    let mut change = ProfileChange::default();
    for field in fields {
        change = change.set("user.", field, value(user, field))?;
    }
    Ok(change)
}

fn masked(paths: &[String]) -> Result<Vec<ProfileField>> {
    let mut fields = Vec::new();
    for path in paths {
        match path.as_str() {
            "*" => fields.extend(ProfileField::ALL),
            // Sent back from a read: a condition of the change, not a part of it.
            "etag" => {}
            name => fields.push(ProfileField::named(name).ok_or_else(|| unchangeable(name))?),
        }
    }
    Ok(fields)
}

fn unchangeable(name: &str) -> Error {
    let reason = match name {
        "email" => "is changed through auth, not here",
        "id" | "create_time" | "update_time" | "delete_time" => "is given by the platform",
        _ => "is no field of a user that can be changed",
    };
    Error::invalid("update_mask", format!("{name} {reason}")).field(format!("user.{name}"), reason)
}

fn value(user: &User, field: ProfileField) -> &str {
    match field {
        ProfileField::DisplayName => &user.display_name,
        ProfileField::Locale => &user.locale,
        ProfileField::TimeZone => &user.time_zone,
        ProfileField::AvatarUrl => &user.avatar_url,
        ProfileField::Bio => &user.bio,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
    }

    #[test]
    fn a_mask_selects_and_no_mask_takes_what_has_a_value() {
        let user = User { display_name: "Ada".into(), email: "x@y".into(), ..User::default() };
        let named = ProfileChange::default().set("", ProfileField::DisplayName, "Ada");
        let named = named.expect("acceptable");
        assert_eq!(profile_change(&user, None).expect("sound"), named);
        assert_eq!(profile_change(&user, mask(&["display_name", "etag"])).expect("sound"), named);
        assert_ne!(profile_change(&user, mask(&["*"])).expect("sound"), named);
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_name() {
        for path in ["email", "id", "create_time", "etag.x", "nonsense", ""] {
            let error = profile_change(&User::default(), mask(&[path])).expect_err(path);
            let fields: Vec<_> = error.violations().iter().map(|v| v.field.as_str()).collect();
            assert_eq!(fields, ["update_mask", &format!("user.{path}")]);
        }
    }
}
