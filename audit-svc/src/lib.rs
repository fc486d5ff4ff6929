//! The audit service: what happened.
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | the service's settings |
//! | [`grpc`] | presentation: parse, call the app, render |
//! | [`app`] | the use cases |
//! | [`domain`] | records, the chain of hashes, its verification, the port |
//! | [`store`] | the chain in the database |
//! | [`events`] | what audit hears: everything |

pub mod app;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod store;
