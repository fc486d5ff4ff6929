//! The authz service: who may do what.
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | the service's settings |
//! | [`grpc`] | presentation: parse, call the app, render |
//! | [`app`] | the use cases |
//! | [`domain`] | permissions, roles, bindings, decisions, events, ports |
//! | [`store`] | roles and bindings in the database |
//! | [`events`] | what authz tells and hears |

pub mod app;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod store;
