//! The processes of the platform: names, ports, and the order in which they start.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// One process of the platform.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its name in the mesh: in certificates, in the registry, on the command line.
    pub(crate) name: &'static str,
    /// Its binary.
    pub(crate) binary: &'static str,
    /// Its table in the settings, and `MAINSTAY_<SECTION>__` in the environment.
    pub(crate) section: &'static str,
    /// Its port, before the offset.
    pub(crate) port: u16,
    /// When it starts: a wave starts when all of the wave before are ready.
    pub(crate) wave: usize,
}

/// Every process. The gateway comes last, because it is of use only once the others answer; auth
/// comes after those that a registration passes through.
pub(crate) static SERVICES: [Service; 6] = [
    service("authz-svc", "authz-svc", "authz", 8083, 0),
    service("audit-svc", "audit-svc", "audit", 8084, 0),
    service("identity-svc", "identity-svc", "identity", 8082, 0),
    service("billing-svc", "billing-svc", "billing", 8092, 0),
    service("auth-svc", "auth-svc", "auth", 8081, 1),
    service("gateway", "mainstay-gateway", "gateway", 8080, 2),
];

/// Identities beside the processes that get a certificate: a person who calls services directly, and
/// one who operates them with `mainstayctl`.
pub(crate) const EXTRA_IDENTITIES: [&str; 2] = ["developer", "operator"];

/// Number of waves.
pub(crate) const WAVES: usize = 3;

/// The admin port is the port and this.
const ADMIN_PORT_OFFSET: u16 = 10_000;

const fn service(
    name: &'static str,
    binary: &'static str,
    section: &'static str,
    port: u16,
    wave: usize,
) -> Service {
    Service { name, binary, section, port, wave }
}

/// The gateway.
pub(crate) fn gateway() -> &'static Service {
    &SERVICES[SERVICES.len() - 1]
}

/// The service of a name; for clap.
pub(crate) fn parse_service(name: &str) -> anyhow::Result<&'static Service> {
    let found = SERVICES
        .iter()
        .find(|service| service.name == name || service.binary == name || service.section == name);
    match found {
        Some(service) => Ok(service),
        None => {
            let names: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
            bail!("no such service; there are {}", names.join(", "))
        }
    }
}

/// How far every port is shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortOffset(u16);

impl PortOffset {
    const VARIABLE: &str = "MAINSTAY_PORT_OFFSET";

    /// The offset of the command line, else of the environment, else 0.
    pub(crate) fn from(stated: Option<u16>) -> anyhow::Result<Self> {
        let offset = match (stated, std::env::var(Self::VARIABLE)) {
            (Some(offset), _) => offset,
            (None, Ok(text)) if !text.is_empty() => match text.parse() {
                Ok(offset) => offset,
                Err(_) => bail!("{} is {text:?}: set it to a number of ports", Self::VARIABLE),
            },
            (None, _) => 0,
        };
        Self::new(offset)
    }

    fn new(offset: u16) -> anyhow::Result<Self> {
        let highest = SERVICES.iter().map(|service| service.port).max().unwrap_or_default();
        let most = u16::MAX - ADMIN_PORT_OFFSET - highest;
        if offset > most {
            bail!("port offset {offset} leaves no room for the admin ports: choose at most {most}");
        }
        Ok(Self(offset))
    }

    /// The number itself.
    pub(crate) fn get(self) -> u16 {
        self.0
    }
}

impl Service {
    /// Where it listens.
    pub(crate) fn address(&self, offset: PortOffset) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port + offset.0))
    }

    /// Where it answers for health, readiness and metrics.
    pub(crate) fn admin_address(&self, offset: PortOffset) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port + ADMIN_PORT_OFFSET + offset.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_the_house_and_shift_together() {
        let gateway = gateway();
        assert_eq!(gateway.name, "gateway");
        assert_eq!(gateway.address(PortOffset(0)).port(), 8080);
        assert_eq!(gateway.admin_address(PortOffset(0)).port(), 18080);
        assert_eq!(gateway.admin_address(PortOffset(300)).port(), 18380);
    }

    #[test]
    fn an_offset_beyond_the_last_port_is_refused() {
        assert!(PortOffset::new(47_443).is_ok());
        let refused = PortOffset::new(47_444).unwrap_err().to_string();
        assert!(refused.contains("at most 47443"), "{refused}");
    }

    #[test]
    fn a_service_is_found_by_any_of_its_names() {
        for name in ["gateway", "mainstay-gateway"] {
            assert_eq!(parse_service(name).unwrap().name, "gateway");
        }
        assert_eq!(parse_service("auth").unwrap().name, "auth-svc");
        let refused = parse_service("billing-service").unwrap_err().to_string();
        assert!(refused.contains("billing-svc"), "{refused}");
    }

    #[test]
    fn waves_are_numbered_without_gaps() {
        for wave in 0..WAVES {
            assert!(SERVICES.iter().any(|service| service.wave == wave));
        }
        assert!(SERVICES.iter().all(|service| service.wave < WAVES));
    }
}
