//! What identity tells the platform, and what it hears.
//!
//! | direction | event | effect |
//! |---|---|---|
//! | heard | `auth.AccountRegistered` | the user is created |
//! | told | `identity.UserCreated`, `UserUpdated`, `UserDeleted` | stored with the change itself |

pub mod consumed;
pub mod published;
