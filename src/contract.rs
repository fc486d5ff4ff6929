//! What services promise.
pub mod auth; pub mod identity; pub mod authz; pub mod audit; pub mod billing; pub mod proto;
