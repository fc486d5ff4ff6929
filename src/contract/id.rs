//! Ids are newtypes over UUIDv7, so that no id of one kind can be handed in for another, and so that
//! ids sort by the time they were made.

/// Declares an id newtype; the string is the field name that errors show.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(uuid::Uuid);

        #[allow(clippy::new_without_default, reason = "every new id differs: no default")]
        impl $name {
            /// A new id that sorts after those made before.
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7())
            }

            /// Reads an id, or answers `INVALID_ARGUMENT` naming the field.
            pub fn parse(text: &str) -> $crate::kernel::Result<Self> {
                uuid::Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| $crate::kernel::Error::invalid($field, "must be a UUID"))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(formatter)
            }
        }

        impl From<uuid::Uuid> for $name {
            fn from(id: uuid::Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for uuid::Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(
    /// Id of a user.
    UserId, "user_id"
);
id!(
    /// Id of a session: the claim `sid` of its access tokens.
    SessionId, "session_id"
);
id!(
    /// Id of an API key: the claim `sid` of the access tokens that it is exchanged for.
    ApiKeyId, "api_key_id"
);
id!(
    /// Id of a role.
    RoleId, "role_id"
);
id!(
    /// Id of a role binding.
    BindingId, "binding_id"
);
id!(
    /// Id of an audit record: that of the event it was made from.
    AuditEventId, "event_id"
);
id!(
    /// Id of a subscription.
    SubscriptionId, "subscription_id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_write_and_sort_by_age() {
        let (older, newer) = (UserId::new(), UserId::new());
        assert!(older < newer);
        assert_eq!(UserId::parse(&older.to_string()).expect("a UUID"), older);
    }

    #[test]
    fn what_is_no_uuid_is_refused_by_field_name() {
        let error = RoleId::parse("admin").expect_err("not a UUID");
        assert_eq!(error.violations()[0].field, "role_id");
    }
}
