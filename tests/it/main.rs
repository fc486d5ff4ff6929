//! Stories over the kernel: real servers on free ports, real certificates, real databases.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that panics names its line")]

mod database;
mod events;
mod lifecycle;
mod process;
mod world;
