//! What a run has on the servers: a database with the roles of two services, and topics. All of it
//! carries the id of this process, so that a later run finds what a killed one has left.

use crate::credentials::{PASSWORD_LENGTH, password_of};
use crate::infra::{Broker, Endpoints};
use crate::process::gone;
use crate::psql::{self, Psql};
use crate::workspace;

/// How databases, and the roles in them, are called; the id of the process follows.
const DATABASE_PREFIX: &str = "mainstay_bench_";
/// What topics begin with; the id of the process and a dot follow.
const TOPIC_PREFIX: &str = "mainstay-bench-";
/// The services, and the variables in which the program finds their URLs.
const SERVICES: [(&str, &str); 2] =
    [("writer", "MAINSTAY_BENCH_WRITER_URL"), ("reader", "MAINSTAY_BENCH_READER_URL")];
/// What one service needs in a database.
const SCRIPT: &str = "deploy/postgres/provision.sql";

/// What a run has made.
pub(super) struct Ground {
    admin: Psql,
    brokers: String,
    process: u32,
    variables: Vec<(&'static str, String)>,
}

impl Ground {
    /// Makes it, and removes what runs that were killed have left.
    pub(super) fn prepare(endpoints: &Endpoints) -> anyhow::Result<Self> {
        let admin_url = endpoints.url_of("postgres")?;
        let brokers = endpoints.kafka_brokers()?.to_owned();
        let admin = Psql::open(admin_url)?;
        sweep(&admin, &brokers)?;
        let process = std::process::id();
        let mut ground = Self { admin, brokers, process, variables: Vec::new() };
        if let Err(error) = ground.provision(admin_url) {
            // The next run removes what this one could not.
            let _ = ground.remove();
            return Err(error);
        }
        Ok(ground)
    }

    fn provision(&mut self, admin_url: &str) -> anyhow::Result<()> {
        let database = format!("{DATABASE_PREFIX}{}", self.process);
        self.admin.run(&format!(
            "create database {database} template template0 encoding 'UTF8' locale 'C'"
        ))?;
        let own = Psql::open(&psql::with_database(admin_url, &database)?)?;
        let script = workspace::root().join(SCRIPT);
        for (service, variable) in SERVICES {
            let password = password_of(PASSWORD_LENGTH);
            own.run_file(&script, &[("service", service), ("password", &password)])?;
            let role = format!("{database}_{service}");
            self.variables.push((variable, psql::url_of(admin_url, &role, &password, &database)?));
        }
        Ok(())
    }

    /// Where a phase works, as it is told by its arguments. Each has topics of its own, so that
    /// none reads what another one has published.
    pub(super) fn args(&self, phase: &str) -> [String; 4] {
        let prefix = format!("{TOPIC_PREFIX}{}.{phase}.", self.process);
        ["--brokers".to_owned(), self.brokers.clone(), "--topic-prefix".to_owned(), prefix]
    }

    /// What else it is told, which is secret.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        self.variables.clone()
    }

    /// Removes all of it.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let of_database = remove_database(&self.admin, self.process);
        remove_topics(&self.brokers, &[self.process])?;
        of_database
    }
}

/// Removes what processes that are gone have left.
fn sweep(admin: &Psql, brokers: &str) -> anyhow::Result<()> {
    let query =
        format!("select datname from pg_database where starts_with(datname, '{DATABASE_PREFIX}')");
    let databases = admin.run(&query)?;
    for process in gone(databases.lines(), DATABASE_PREFIX) {
        remove_database(admin, process)?;
    }
    let topics = Broker::open(brokers)?.topics()?;
    remove_topics(brokers, &gone(topics.iter().map(String::as_str), TOPIC_PREFIX))
}

fn remove_database(admin: &Psql, process: u32) -> anyhow::Result<()> {
    let database = format!("{DATABASE_PREFIX}{process}");
    admin.run(&format!("drop database if exists {database} with (force)"))?;
    for (service, _) in SERVICES {
        admin.run(&format!("drop role if exists {database}_{service}"))?;
    }
    Ok(())
}

fn remove_topics(brokers: &str, processes: &[u32]) -> anyhow::Result<()> {
    let prefixes: Vec<_> =
        processes.iter().map(|process| format!("{TOPIC_PREFIX}{process}.")).collect();
    let mut kafka = Broker::open(brokers)?;
    let mut topics = kafka.topics()?;
    topics.retain(|topic| prefixes.iter().any(|prefix| topic.starts_with(prefix)));
    match topics.is_empty() {
        true => Ok(()),
        false => kafka.delete(&topics),
    }
}
