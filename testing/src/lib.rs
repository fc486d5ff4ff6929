//! The harness on which Mainstay's stories run.
//!
//! [`TestMesh`] runs services within the test, over real connections with real certificates; what a
//! service depends on and the story does not, [`FakeAuthz`] and its like stand in for.
//! [`Platform`] runs the whole platform as real processes and speaks REST to it. [`infra`] says
//! whether a run is on real servers, and where they are. [`die_at`] kills a process in a window.

mod authz;
mod billing;
mod broker;
pub mod certificates;
mod databases;
mod death;
mod infra;
mod mesh;
mod platform;
mod ports;
mod redis;
mod registry;
mod rest;
mod wait;

pub use authz::{FakeAuthz, NoSettings};
pub use billing::FakeBilling;
pub use broker::TestBroker;
pub use databases::Databases;
pub use death::die_at;
pub use infra::{Consul, Etcd, INFRA_VARIABLE, Infra, Kafka, Postgres, Redis, infra};
pub use mesh::TestMesh;
pub use platform::{ADMIN_EMAIL, ADMIN_PASSWORD, Account, Platform, binary, command};
pub use ports::free_address;
pub use redis::PrivateRedis;
pub use rest::{Reply, Rest};
pub use wait::{as_user, as_user_with_plan, eventually, within};
