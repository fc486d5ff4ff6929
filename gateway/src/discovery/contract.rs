//! What one service serves: its descriptors and the names of its gRPC services.

use prost_reflect::DescriptorPool;

/// A service's contract, as reflection gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contract {
    /// The service, such as `identity-svc`.
    pub(crate) service: String,
    /// The hash that the registry has for it.
    pub(crate) hash: String,
    /// Full names of the gRPC services it serves.
    pub(crate) grpc_services: Vec<String>,
    /// An encoded `google.protobuf.FileDescriptorSet`.
    pub(crate) descriptors: Vec<u8>,
}

impl Contract {
    /// The descriptors, with the options that extensions carry.
    pub(crate) fn pool(&self) -> anyhow::Result<DescriptorPool> {
        Ok(DescriptorPool::decode(self.descriptors.as_slice())?)
    }
}
