//! One database for the platform; for each service a login role and a schema that it alone may use.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{has_database, write_secret};
use crate::credentials::{PASSWORD_LENGTH, ensure_secret, password_of, read_secret};
use crate::home::Home;
use crate::mesh::{SERVICES, Service};
use crate::psql::{self, Psql};
use crate::workspace;

/// What one service needs, for whoever administers a server.
const SCRIPT: &str = "deploy/postgres/provision.sql";

/// Makes the database, roles and schemas, and writes down each service's own URL.
pub(super) fn provision(home: &Home, admin_url: &str, platform: &str) -> anyhow::Result<()> {
    let admin = Psql::open(admin_url)?;
    let found = format!("select 1 from pg_database where datname = '{platform}'");
    if admin.run(&found)?.trim().is_empty() {
        // Names order by their bytes, the same on every machine.
        admin.run(&format!(
            "create database {platform} template template0 encoding 'UTF8' locale 'C'"
        ))?;
    }
    let database = Psql::open(&psql::with_database(admin_url, platform)?)?;
    let script = workspace::root().join(SCRIPT);
    for service in SERVICES.iter().filter(|service| has_database(service)) {
        let password = password(home, service)?;
        let variables = [("service", service.section), ("password", password.as_str())];
        database.run_file(&script, &variables)?;
        let url = psql::url_of(admin_url, &role(platform, service), &password, platform)?;
        write_secret(&url_file(home, service), &url)?;
    }
    Ok(())
}

/// Drops the database and the roles; nobody else has anything in them.
pub(super) fn forget(admin_url: &str, platform: &str) -> anyhow::Result<()> {
    let admin = Psql::open(admin_url)?;
    // Roles with rights in a database stay as long as it.
    admin.run(&format!("drop database if exists {platform} with (force)"))?;
    for service in SERVICES.iter().filter(|service| has_database(service)) {
        admin.run(&format!("drop role if exists {}", role(platform, service)))?;
    }
    Ok(())
}

/// The file with the URL by which a service logs in.
pub(super) fn url_file(home: &Home, service: &Service) -> PathBuf {
    home.path("secrets").join(format!("{}-database-url", service.section))
}

/// As the script names it.
fn role(platform: &str, service: &Service) -> String {
    format!("{platform}_{}", service.section)
}

fn password(home: &Home, service: &Service) -> anyhow::Result<String> {
    let file = home.path("secrets").join(format!("{}-database-password", service.section));
    ensure_secret(&file, || password_of(PASSWORD_LENGTH))?;
    read_secret(&file).with_context(|| format!("{} cannot be read", file.display()))
}
