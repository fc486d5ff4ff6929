//! Stories of an operator at the command line, over a whole platform.
#![allow(clippy::unwrap_used, missing_docs, reason = "a story that breaks should say where")]

mod dead_letters;
mod harness;
mod people;
mod services;
mod usage;
