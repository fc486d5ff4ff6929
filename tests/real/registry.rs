//! Registries on real servers.

#[path = "../suite/registry.rs"]
mod suite;

mod consul;
mod etcd;
mod load;
