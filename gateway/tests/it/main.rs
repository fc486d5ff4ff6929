//! Stories of the gateway over a real mesh: services made of descriptors, real tokens, real
//! connections.
#![allow(clippy::unwrap_used, missing_docs)] // a test fails by panicking and documents itself

mod access;
mod api_keys;
mod browsers;
mod caching;
mod compression;
mod conformance;
mod connect;
mod corpus;
mod decisions;
mod discovery;
mod document;
mod errors;
mod fakes;
mod feed;
mod framing;
mod grpc;
mod grpc_web;
mod idempotency;
mod identity;
mod json;
mod library;
mod limits;
mod lists;
mod metadata;
mod requests;
mod sockets;
mod standalone;
mod streams;
mod tls;
mod transcoding;
mod uploads;
mod world;
