//! What auth tells the platform, and what it hears.
//!
//! | direction | event | effect |
//! |---|---|---|
//! | told | `auth.AccountRegistered` | stored with the account: a new user follows from it |
//! | told | `auth.RegistrationWithdrawn` | stored with the account's end, when a service refused its part |
//! | told | `auth.SessionStarted`, `SessionEnded`, `PasswordChanged` | stored with the change itself |
//! | heard | `authz.RoleBound`, `RoleUnbound` | the roles in new tokens |
//! | heard | `billing.SubscriptionChanged` | the plan in new tokens |
//! | heard | `identity.UserDeleted` | the account is closed, its sessions end |

pub mod consumed;
pub mod published;
