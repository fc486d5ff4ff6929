//! Where services find each other: effect, unit and default of each setting.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Where services find each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Which registry: `directory` or `consul`. Default: `directory`.
    pub kind: RegistryKind,
    /// Folder of the registry `directory`; the same for every process. Default:
    /// `.mainstay/registry`.
    pub path: PathBuf,
    /// Zone in which this process runs, such as `eu-west-1a`; announced with it. Default: empty,
    /// none.
    pub zone: String,
    /// After a registry was away: how long instances are kept that it does not list again. Default:
    /// 15 s.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// `[registry.consul]`
    pub consul: ConsulSettings,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            kind: RegistryKind::Directory,
            path: PathBuf::from(".mainstay/registry"),
            zone: String::new(),
            grace: Duration::from_secs(15),
            consul: ConsulSettings::default(),
        }
    }
}

/// The registries there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryKind {
    /// A folder that the processes of one machine share.
    Directory,
    /// HashiCorp Consul, through the agent of the machine.
    Consul,
}

/// The registry `consul`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsulSettings {
    /// Address of the agent, `http://` or `https://`. Default: `http://127.0.0.1:8500`.
    pub url: String,
    /// ACL token. Default: empty, none is sent.
    pub token: Secret<String>,
    /// What the names of this platform's services begin with in Consul, so that platforms can share
    /// it: `mainstay` makes `identity-svc` the Consul service `mainstay-identity-svc`. Default:
    /// `mainstay`.
    pub prefix: String,
    /// Who finds out whether an instance is healthy: `grpc`, `grpc-tls` or `ttl`. Default: `grpc`.
    pub check: ConsulCheck,
    /// How often health is looked at, and whether the agent still knows the instance; Consul takes
    /// 1 s or more. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// How long an instance may be unhealthy before Consul forgets it; Consul takes 1 min or more.
    /// Default: 1 min.
    #[serde(with = "humantime_serde")]
    pub deregister_after: Duration,
    /// How long one question may wait for news; a connection that died in silence is noticed only
    /// after it. Default: 10 s.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// How long any other request may take. Default: 2 s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// `[registry.consul.tls]`
    pub tls: ServerTls,
}

impl Default for ConsulSettings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8500".to_owned(),
            token: Secret::default(),
            prefix: "mainstay".to_owned(),
            check: ConsulCheck::Grpc,
            check_interval: Duration::from_secs(1),
            deregister_after: Duration::from_secs(60),
            wait: Duration::from_secs(10),
            request_timeout: Duration::from_secs(2),
            tls: ServerTls::default(),
        }
    }
}

/// Who finds out whether an instance is healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsulCheck {
    /// The agent asks `grpc.health.v1` on the admin port, which takes no certificates.
    Grpc,
    /// The agent asks `grpc.health.v1` on the service's own port, with a certificate of the mesh:
    /// it needs `enable_agent_tls_for_checks`.
    GrpcTls,
    /// The process tells the agent, for agents that cannot reach it. One that falls silent is
    /// unhealthy after five intervals.
    Ttl,
}

/// How a server is trusted, and how it may trust us.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file with the certificates of the authorities that the server's is signed by. Default:
    /// those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// PEM file with a client certificate chain, for servers that demand one. Default: none.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the private key of the client certificate. Default: none.
    pub key_file: Option<PathBuf>,
}
