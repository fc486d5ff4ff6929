//! The row of a user, and its way to and from the domain.
//!
//! Times are microseconds since 1970 in a 64-bit integer, which orders alike on every database.
#![allow(unreachable_pub, missing_docs, reason = "what sea-orm derives is public and undocumented")]

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::domain::{Email, Profile, ProfileField, User, UserError};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_account")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub email: String,
    pub email_key: String,
    pub display_name: String,
    pub locale: String,
    pub time_zone: String,
    pub avatar_url: String,
    pub bio: String,
    pub version: i64,
    pub create_time: i64,
    pub update_time: i64,
    pub delete_time: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub fn from_domain(user: &User) -> Model {
    let value = |field| user.profile.get(field).to_owned();
    Model {
        id: user.id.into(),
        email: user.email.as_typed().to_owned(),
        email_key: user.email.key(),
        display_name: value(ProfileField::DisplayName),
        locale: value(ProfileField::Locale),
        time_zone: value(ProfileField::TimeZone),
        avatar_url: value(ProfileField::AvatarUrl),
        bio: value(ProfileField::Bio),
        version: stored_version(user.version),
        create_time: user.create_time.timestamp_micros(),
        update_time: user.update_time.timestamp_micros(),
        delete_time: user.delete_time.map(|time| time.timestamp_micros()),
    }
}

pub fn into_domain(row: Model) -> Result<User, UserError> {
    let profile = Profile::default()
        .with(ProfileField::DisplayName, row.display_name)
        .with(ProfileField::Locale, row.locale)
        .with(ProfileField::TimeZone, row.time_zone)
        .with(ProfileField::AvatarUrl, row.avatar_url)
        .with(ProfileField::Bio, row.bio);
    Ok(User {
        id: row.id.into(),
        email: Email::parse(&row.email)?,
        profile,
        version: u64::try_from(row.version).map_err(broken)?,
        create_time: stored_time(row.create_time)?,
        update_time: stored_time(row.update_time)?,
        delete_time: row.delete_time.map(stored_time).transpose()?,
    })
}

/// A version as it is stored. SQL has no unsigned integers; no user is changed 2^63 times.
pub fn stored_version(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

fn stored_time(micros: i64) -> Result<DateTime<Utc>, UserError> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| UserError::Failed(anyhow::anyhow!("{micros} is no time")))
}

fn broken(error: impl Into<anyhow::Error>) -> UserError {
    UserError::Failed(error.into())
}
