//! HTTP and JSON to protobuf and back, by descriptors alone: the gateway holds no generated code of
//! any service.
//!
//! A [`binding::Binding`] is compiled once for each route. On the way in, body, query and path fill
//! a dynamic message; every fault names its field and all faults of a request are reported at once.
//! On the way out, the reply becomes proto3 JSON for the envelope.

pub(crate) mod binding;
pub(crate) mod fill;
pub(crate) mod json;
pub(crate) mod query;
pub(crate) mod render;
pub(crate) mod request;
pub(crate) mod scalar;
pub(crate) mod violations;
pub(crate) mod well_known;
