//! The environment in which a service runs: where everything lies, by the names of its settings.

use std::ffi::OsString;
use std::process::Command;

use crate::certificates::Certificates;
use crate::credentials::Credentials;
use crate::home::Home;
use crate::infra::INFRA_VARIABLE;
use crate::mesh::{PortOffset, SERVICES, Service, gateway};
use crate::real::Real;
use crate::standing::OWNER_VARIABLE;
use crate::supervisor::Plan;
use crate::{folder, observe};

/// Variables that are for xtask and the tests; a service would refuse them as unknown settings.
const OWN_VARIABLES: [&str; 3] = ["MAINSTAY_HOME", "MAINSTAY_PORT_OFFSET", INFRA_VARIABLE];

/// Gives a command the environment of a service: the caller's, less what concerns others, and over
/// it what the state folder says.
pub(crate) fn apply(command: &mut Command, plan: &Plan, service: &Service, real: Option<&Real>) {
    let (home, offset) = (&plan.home, plan.offset);
    let inherited: Vec<String> =
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    for name in inherited.iter().filter(|name| !concerns(name, service)) {
        command.env_remove(name);
    }
    let servers = real.map(|real| real.variables(home, service)).unwrap_or_default();
    let observer = observe::variables(offset).into_iter().filter(|_| plan.observe);
    for (name, value) in variables(home, service, offset).into_iter().chain(servers).chain(observer)
    {
        // A secret that the caller states as a value must not be stated as a file as well, and who
        // states an issuer means it.
        let stated = inherited.iter().any(|inherited| {
            name.strip_suffix("_FILE") == Some(inherited) || (inherited == name && is_issuer(name))
        });
        if !stated {
            command.env(name, value);
        }
    }
}

/// Whether a variable of the caller is for this service: any that is no setting, and settings of the
/// kernel and of its own table.
fn concerns(name: &str, service: &Service) -> bool {
    let Some(key) = name.strip_prefix("MAINSTAY_") else { return true };
    let table = key.split_once("__").map(|(table, _)| table.to_lowercase());
    let of_another =
        SERVICES.iter().any(|other| other != service && table.as_deref() == Some(other.section));
    !of_another && !OWN_VARIABLES.contains(&name)
}

fn variables(home: &Home, service: &Service, offset: PortOffset) -> Vec<(&'static str, OsString)> {
    let certificates = Certificates::at(home.path("tls"));
    let mut variables = vec![
        (OWNER_VARIABLE, home.root().into()),
        ("MAINSTAY_SETTINGS", folder::settings_file(home, service).into()),
        ("MAINSTAY_LISTEN", service.address(offset).to_string().into()),
        ("MAINSTAY_ADMIN_LISTEN", service.admin_address(offset).to_string().into()),
        ("MAINSTAY_DATA_DIR", home.path("data").into()),
        ("MAINSTAY_REGISTRY__PATH", home.path("registry").into()),
        ("MAINSTAY_EVENTS__PATH", home.path("broker.db").into()),
        ("MAINSTAY_TLS__CA_FILE", certificates.authority().into()),
        ("MAINSTAY_TLS__CERT_FILE", certificates.certificate(service.name).into()),
        ("MAINSTAY_TLS__KEY_FILE", certificates.key(service.name).into()),
    ];
    variables.extend(own_variables(home, service));
    if let Some(name) = issuer_variable(service) {
        variables.push((name, format!("http://{}", gateway().address(offset)).into()));
    }
    variables
}

/// The setting that names who issues tokens: where the gateway is, for whoever issues or verifies.
pub(crate) fn issuer_variable(service: &Service) -> Option<&'static str> {
    match service.section {
        "auth" => Some("MAINSTAY_AUTH__ISSUER"),
        "identity" => Some("MAINSTAY_IDENTITY__TOKEN_ISSUER"),
        "authz" => Some("MAINSTAY_AUTHZ__TOKEN_ISSUER"),
        "audit" => Some("MAINSTAY_AUDIT__TOKEN_ISSUER"),
        "gateway" => Some("MAINSTAY_GATEWAY__TOKEN_ISSUER"),
        _ => None,
    }
}

fn is_issuer(name: &str) -> bool {
    SERVICES.iter().any(|service| issuer_variable(service) == Some(name))
}

/// What one service alone needs.
fn own_variables(home: &Home, service: &Service) -> Vec<(&'static str, OsString)> {
    let credentials = Credentials::of(home);
    match service.section {
        "auth" => {
            let email = credentials.admin().map(|admin| admin.email).unwrap_or_default();
            vec![
                ("MAINSTAY_AUTH__BOOTSTRAP_ADMIN_EMAIL", email.into()),
                (
                    "MAINSTAY_AUTH__BOOTSTRAP_ADMIN_PASSWORD_FILE",
                    credentials.admin_password_file().into(),
                ),
            ]
        }
        "gateway" => {
            vec![("MAINSTAY_GATEWAY__CURSOR_KEY_FILE", credentials.cursor_key_file().into())]
        }
        "billing" => vec![(
            "MAINSTAY_BILLING__STRIPE_WEBHOOK_SECRETS_FILE",
            credentials.webhook_secret_file().into(),
        )],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::parse_service;

    #[test]
    fn a_service_gets_the_callers_settings_that_concern_it() {
        let auth = parse_service("auth-svc").unwrap();
        for name in ["PATH", "MAINSTAY_CHANNEL__TRANSPORT", "MAINSTAY_AUTH__ISSUER"] {
            assert!(concerns(name, auth), "{name}");
        }
        for name in ["MAINSTAY_BILLING__PROVIDER", "MAINSTAY_HOME", INFRA_VARIABLE] {
            assert!(!concerns(name, auth), "{name}");
        }
    }

    #[test]
    fn every_process_listens_on_loopback_with_its_own_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        for service in &SERVICES {
            let variables = variables(&home, service, PortOffset::default());
            let value = |name: &str| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.unwrap().1.to_string_lossy().into_owned()
            };
            assert_eq!(value("MAINSTAY_LISTEN"), format!("127.0.0.1:{}", service.port));
            assert!(value("MAINSTAY_TLS__KEY_FILE").ends_with(&format!("{}.key", service.name)));
        }
    }
}
