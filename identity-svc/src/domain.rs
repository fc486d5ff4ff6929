//! The nouns of identity: users, their profiles, what may be said about them, and the ports the use
//! cases need. Knows no framework.

pub mod error;
pub mod event;
pub mod port;
pub mod profile;
pub mod user;

pub use error::UserError;
pub use event::UserEvent;
pub use mainstay::contract::email::Email;
pub use mainstay::contract::identity::UserId;
pub use port::{UserFilter, UserStore};
pub use profile::{Profile, ProfileChange, ProfileField};
pub use user::User;
