//! Mainstay: the contract and the kernel.
//!
//! [`contract`] is what services promise: stubs, client traits, ids and error codes, generated from
//! `proto/` or standing beside it. [`kernel`] is what services stand on; it knows no business noun.

pub mod contract;
pub mod kernel;
