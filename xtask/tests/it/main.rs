//! Stories of bringing the platform up and down, with stand-ins for the services and with the
//! services themselves.
// A failed expectation is a failed test, and the stories are the documentation.
#![allow(clippy::unwrap_used, missing_docs)]

mod compose;
mod detached;
mod failpoints;
mod faults;
mod foreground;
mod harness;
mod observe;
mod observer;
mod port;
mod services;
