//! Roles: named sets of permissions.

use chrono::{DateTime, Utc};
use mainstay::contract::authz::{ROLE_BUILT_IN, RoleId};
use mainstay::kernel::error::ETAG_MISMATCH;
use mainstay::kernel::etag::IfMatch;
use mainstay::kernel::{Error, Result};

use super::permission::PermissionPattern;

/// Name of the built-in role that holds every permission.
pub const ADMIN: &str = "admin";

/// Name of the built-in role that every user has. It holds no permission: what users may do to what
/// is theirs follows from `owner` and `authenticated` in the contracts.
pub const MEMBER: &str = "member";

/// The most characters of a description.
const MAX_DESCRIPTION_CHARS: usize = 500;

/// The most permissions and patterns of a role.
const MAX_PERMISSIONS: usize = 500;

/// Id of `admin`, the same in every installation.
pub fn admin_role_id() -> RoleId {
    RoleId::from(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001))
}

/// Id of `member`, the same in every installation.
pub fn member_role_id() -> RoleId {
    RoleId::from(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002))
}

/// A named set of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Id.
    pub id: RoleId,
    /// Unique name.
    pub name: RoleName,
    /// What the role is for.
    pub description: String,
    /// What it holds, in order and each once.
    pub permissions: Vec<PermissionPattern>,
    /// Whether the platform brings it.
    pub built_in: bool,
    /// When it was created.
    pub create_time: DateTime<Utc>,
    /// When it was last changed.
    pub update_time: DateTime<Utc>,
    /// Grows by one with every change.
    pub version: i64,
}

impl Role {
    /// A role that nobody has yet.
    pub fn create(
        name: RoleName,
        description: &str,
        permissions: Vec<PermissionPattern>,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        Ok(Self {
            id: RoleId::new(),
            name,
            description: checked_description(description)?,
            permissions: checked_permissions(permissions)?,
            built_in: false,
            create_time: now,
            update_time: now,
            version: 1,
        })
    }

    /// Version of this state, as clients see it.
    pub fn etag(&self) -> String {
        format!("v{}", self.version)
    }

    /// The role after an update; `None` when it would be as it is. `ROLE_BUILT_IN` for a built-in
    /// role, `ETAG_MISMATCH` when the caller saw another version.
    pub fn updated(&self, update: RoleUpdate, now: DateTime<Utc>) -> Result<Option<Self>> {
        self.require_own()?;
        if !update.expected.allows(&self.etag()) {
            let message = format!("role {} was changed by somebody else", self.name.as_str());
            return Err(Error::new(ETAG_MISMATCH, message).detail("etag", self.etag()));
        }
        let mut next = self.clone();
        if let Some(description) = update.description {
            next.description = checked_description(&description)?;
        }
        if let Some(permissions) = update.permissions {
            next.permissions = checked_permissions(permissions)?;
        }
        if next == *self {
            return Ok(None);
        }
        next.version += 1;
        next.update_time = now;
        Ok(Some(next))
    }

    /// Refuses what may not be done to built-in roles.
    pub fn require_own(&self) -> Result<()> {
        if !self.built_in {
            return Ok(());
        }
        let message = format!("role {} is built in and stays as it is", self.name.as_str());
        Err(Error::new(ROLE_BUILT_IN, message))
    }
}

/// What is to change about a role; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct RoleUpdate {
    /// The new description.
    pub description: Option<String>,
    /// The new permissions, all of them.
    pub permissions: Option<Vec<PermissionPattern>>,
    /// The versions that the caller would have it change.
    pub expected: IfMatch,
}

/// Unique name of a role: lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

impl RoleName {
    /// Reads a name, or answers `INVALID_ARGUMENT` naming the field.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let sound = (2..=63).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        // A name that reads as an id would make `role_id` ambiguous.
        if sound && RoleId::parse(text).is_err() {
            return Ok(Self(text.to_owned()));
        }
        let expected =
            "2 to 63 lower-case letters, digits and hyphens, a letter first, and no UUID";
        Err(Error::invalid(field, format!("must be {expected}")))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How callers point at a role: by id or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleKey {
    /// By its id.
    Id(RoleId),
    /// By its name; one that no role can have finds none.
    Name(String),
}

impl RoleKey {
    /// What reads as a UUID is an id, all else a name.
    pub fn parse(text: &str) -> Self {
        RoleId::parse(text).map_or_else(|_| Self::Name(text.to_owned()), Self::Id)
    }

    /// `NOT_FOUND` for this key.
    pub fn not_found(&self) -> Error {
        Error::not_found("role", self)
    }
}

impl std::fmt::Display for RoleKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

fn checked_description(description: &str) -> Result<String> {
    if description.chars().count() > MAX_DESCRIPTION_CHARS {
        let limit = format!("must have at most {MAX_DESCRIPTION_CHARS} characters");
        return Err(Error::invalid("description", limit));
    }
    Ok(description.to_owned())
}

fn checked_permissions(mut permissions: Vec<PermissionPattern>) -> Result<Vec<PermissionPattern>> {
    if permissions.len() > MAX_PERMISSIONS {
        let limit = format!("must have at most {MAX_PERMISSIONS} items");
        return Err(Error::invalid("permissions", limit));
    }
    permissions.sort();
    permissions.dedup();
    Ok(permissions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use super::*;

    fn patterns(texts: &[&str]) -> Vec<PermissionPattern> {
        texts.iter().map(|text| PermissionPattern::parse("permissions", text).unwrap()).collect()
    }

    fn support() -> Role {
        let name = RoleName::parse("name", "support").unwrap();
        let permissions = patterns(&["identity.users.read", "auth.*", "auth.*"]);
        Role::create(name, "helps users", permissions, Utc::now()).unwrap()
    }

    #[test]
    fn permissions_stand_in_order_and_once() {
        assert_eq!(support().permissions, patterns(&["auth.*", "identity.users.read"]));
    }

    #[test]
    fn an_update_changes_what_it_names_and_the_version() {
        let role = support();
        let update = RoleUpdate { description: Some("new".into()), ..RoleUpdate::default() };
        let changed = role.updated(update, Utc::now()).unwrap().unwrap();
        assert_eq!((changed.description.as_str(), changed.version), ("new", 2));
        assert_eq!(changed.permissions, role.permissions);
        assert_ne!(changed.etag(), role.etag());
    }

    #[test]
    fn an_update_that_changes_nothing_leaves_the_version() {
        let role = support();
        let update =
            RoleUpdate { permissions: Some(role.permissions.clone()), ..RoleUpdate::default() };
        assert_eq!(role.updated(update, Utc::now()).unwrap(), None);
    }

    #[test]
    fn another_version_and_built_in_roles_are_refused() {
        let mut role = support();
        let expected = IfMatch::default().and("etag", "v7").unwrap();
        let stale = RoleUpdate { expected, ..RoleUpdate::default() };
        assert!(role.updated(stale, Utc::now()).unwrap_err().is(&ETAG_MISMATCH));
        role.built_in = true;
        let error = role.updated(RoleUpdate::default(), Utc::now()).unwrap_err();
        assert!(error.is(&ROLE_BUILT_IN));
    }

    #[test]
    fn a_name_can_never_be_taken_for_an_id() {
        let uuid = RoleId::from(uuid::Uuid::from_u128(0xa << 124)).to_string();
        assert!(RoleName::parse("name", &uuid).is_err());
        for bad in ["", "a", "1a", "Support", "sup port", "ünder", &"a".repeat(64)] {
            assert!(RoleName::parse("name", bad).is_err(), "{bad:?} was taken");
        }
        assert_eq!(RoleKey::parse("admin"), RoleKey::Name("admin".into()));
        assert_eq!(RoleKey::parse(&admin_role_id().to_string()), RoleKey::Id(admin_role_id()));
    }
}
