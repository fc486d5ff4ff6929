//! Where services find each other: effect, unit and default of each setting.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Where services find each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Which registry: `directory`, `consul`, `etcd`, `kubernetes` or `static`. Default:
    /// `directory`.
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
    /// Addresses of the registry `static`, as `host:port`, by service. Default: none.
    pub addresses: BTreeMap<String, Vec<String>>,
    /// `[registry.consul]`
    pub consul: ConsulSettings,
    /// `[registry.etcd]`
    pub etcd: EtcdSettings,
    /// `[registry.kubernetes]`
    pub kubernetes: KubernetesSettings,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            kind: RegistryKind::Directory,
            path: PathBuf::from(".mainstay/registry"),
            zone: String::new(),
            grace: Duration::from_secs(15),
            addresses: BTreeMap::new(),
            consul: ConsulSettings::default(),
            etcd: EtcdSettings::default(),
            kubernetes: KubernetesSettings::default(),
        }
    }
}

impl RegistrySettings {
    /// Refuses what cannot work; the message names the setting and the mend.
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        let Self { consul, etcd, kubernetes, .. } = self;
        let (second, instant) = (Duration::from_secs(1), Duration::from_millis(1));
        let least = [
            ("registry.consul.check_interval", consul.check_interval, second),
            ("registry.consul.deregister_after", consul.deregister_after, second * 60),
            ("registry.consul.wait", consul.wait, second),
            ("registry.consul.request_timeout", consul.request_timeout, instant),
            ("registry.etcd.time_to_live", etcd.time_to_live, second * 2),
            ("registry.etcd.request_timeout", etcd.request_timeout, instant),
            ("registry.kubernetes.request_timeout", kubernetes.request_timeout, instant),
        ];
        for (name, value, least) in least {
            ensure!(value >= least, "{name} must be {least:?} or longer");
        }
        Ok(())
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
    /// etcd, version 3.
    Etcd,
    /// The EndpointSlices of Kubernetes.
    Kubernetes,
    /// The addresses that the settings list, which never change.
    Static,
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

/// The registry `etcd`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EtcdSettings {
    /// Addresses of the cluster's members, each `http://` or `https://`; when one does not answer the
    /// next is asked. Default: `["http://127.0.0.1:2379"]`.
    pub urls: Vec<String>,
    /// User, where authentication is enabled. Default: empty, nobody.
    pub user: String,
    /// Password of the user. Default: empty.
    pub password: Secret<String>,
    /// What the keys of this platform begin with, so that platforms can share a cluster: `mainstay`
    /// makes keys of `/mainstay/instances/<service>/<id>`. Default: `mainstay`.
    pub prefix: String,
    /// How long an instance is listed after its last sign of life; it gives three in that time, and
    /// etcd counts whole seconds. Default: 6 s.
    #[serde(with = "humantime_serde")]
    pub time_to_live: Duration,
    /// How long a request may take. Default: 2 s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// `[registry.etcd.tls]`
    pub tls: ServerTls,
}

impl Default for EtcdSettings {
    fn default() -> Self {
        Self {
            urls: vec!["http://127.0.0.1:2379".to_owned()],
            user: String::new(),
            password: Secret::default(),
            prefix: "mainstay".to_owned(),
            time_to_live: Duration::from_secs(6),
            request_timeout: Duration::from_secs(2),
            tls: ServerTls::default(),
        }
    }
}

/// The registry `kubernetes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSettings {
    /// Namespace of the services. Default: empty, that of the pod.
    pub namespace: String,
    /// Which Services are the platform's, as a label selector. Default:
    /// `app.kubernetes.io/part-of=mainstay`.
    pub selector: String,
    /// Name of the Services' port for gRPC. Default: `grpc`.
    pub port: String,
    /// Name of the Services' port for health and metrics. Default: `admin`.
    pub admin_port: String,
    /// Address of the API server for processes outside of the cluster, `http://host:port`, such as
    /// that of `kubectl proxy`. Default: empty, that of the pod's service account.
    pub url: String,
    /// How long a question may take that is not a watch. Default: 5 s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            namespace: String::new(),
            selector: "app.kubernetes.io/part-of=mainstay".to_owned(),
            port: "grpc".to_owned(),
            admin_port: "admin".to_owned(),
            url: String::new(),
            request_timeout: Duration::from_secs(5),
        }
    }
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
