//! What one service serves: its descriptors and the names of its gRPC services.

use anyhow::ensure;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorSet;

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
        pool(&self.descriptors)
    }
}

/// What an encoded `google.protobuf.FileDescriptorSet` describes.
pub(crate) fn pool(descriptors: &[u8]) -> anyhow::Result<DescriptorPool> {
    for file in FileDescriptorSet::decode(descriptors)?.file {
        let (name, syntax) = (file.name(), file.syntax());
        // What reads descriptors does not survive the attempt on others.
        ensure!(
            matches!(file.syntax.as_deref(), None | Some("proto2" | "proto3")),
            "the syntax of {name} is `{syntax}`: only proto2 and proto3 are read, Protobuf Editions \
             are not supported"
        );
    }
    Ok(DescriptorPool::decode(descriptors)?)
}
