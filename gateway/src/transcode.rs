//! HTTP and JSON to protobuf and back, by descriptors alone: the gateway holds no generated code of
//! any service.
//!
//! A [`binding::Binding`] is compiled once for each route, over a [`plan::JsonPlan`] of all messages
//! of a service. On the way in, body, query and path are written as one message on the wire; every
//! fault names its field and all faults of a request are reported at once. On the way out, the
//! reply becomes proto3 JSON for the envelope. Neither way builds a message.

pub(crate) mod binding;
pub(crate) mod frame;
pub(crate) mod plan;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod render;
pub(crate) mod request;
pub(crate) mod violations;
pub(crate) mod wire;
