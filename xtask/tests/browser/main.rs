//! Stories of pages, as a browser shows them.
// A failed expectation is a failed test, and the stories are the documentation.
#![allow(clippy::unwrap_used, missing_docs)]

mod chromium;
#[path = "../it/harness.rs"]
#[allow(dead_code)] // what other stories need stands there too
mod harness;
mod observe;
#[path = "../it/observer.rs"]
#[allow(dead_code)] // as above
mod observer;
#[path = "../it/port.rs"]
mod port;
