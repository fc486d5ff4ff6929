//! What authz tells the platform, and what it hears.
//!
//! | direction | event | effect |
//! |---|---|---|
//! | heard | `auth.AccountRegistered` | the account gets the roles it begins with |
//! | heard | `identity.UserDeleted` | all the user's bindings go |
//! | heard | `events.ServiceDeclared` | the service's permissions appear in the catalogue |
//! | told | `authz.RoleChanged`, `RoleDeleted`, `RoleBound`, `RoleUnbound` | stored with the change itself |

pub mod consumed;
pub mod published;
