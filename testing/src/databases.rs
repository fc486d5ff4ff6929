//! The databases of one test: files in a folder, or, on real servers, a schema and a role of the
//! test's own for each service, made as an administrator makes them.
//!
//! The schemas of all tests of a process lie in one PostgreSQL database: making and dropping a database
//! for each would keep the server's disk busier than the stories do. It is swept up by a later run.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mainstay::kernel::settings::DatabaseSettings;
use ring::{digest, hmac, pbkdf2};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _, Row as _};
use uuid::Uuid;

use crate::infra::{Infra, infra};
use crate::wait::blocking;

/// What gives a service its role and its schema.
const PROVISION: &str = include_str!("../../deploy/postgres/provision.sql");

/// How the databases of test processes are called; the time of their making and the process follow.
const PREFIX: &str = "mainstay_test_";

/// The databases of one test.
pub struct Databases(Option<PostgresSchemas>);

impl Databases {
    /// None yet.
    #[allow(clippy::new_without_default, reason = "which server it is, the environment says")]
    pub fn new() -> Self {
        Self::on(infra())
    }

    /// Schemas on the PostgreSQL server whose administrator `url` names.
    pub fn on_postgres(url: &str) -> Self {
        Self(Some(PostgresSchemas::new(url)))
    }

    pub(crate) fn on(infra: Option<&Infra>) -> Self {
        Self(infra.map(|infra| PostgresSchemas::new(&infra.postgres.url)))
    }

    /// The URL of the PostgreSQL database for its administrator.
    ///
    /// # Panics
    /// If these databases are files.
    pub fn admin_url(&self) -> String {
        let postgres = self.0.as_ref().expect("the databases are on PostgreSQL");
        database_of_process(&postgres.admin).admin_url
    }

    /// The settings of a service's database: this file, unless the run is on real servers.
    pub fn settings(&self, service: &str, file: &Path) -> DatabaseSettings {
        match &self.0 {
            Some(postgres) => postgres.settings(service),
            None => {
                let url = format!("sqlite://{}?mode=rwc", file.display()).into();
                DatabaseSettings { url, ..DatabaseSettings::default() }
            }
        }
    }
}

/// The schemas of one test on a PostgreSQL server.
struct PostgresSchemas {
    admin: String,
    /// What the names of the test's schemas begin with.
    prefix: String,
    /// The settings of each service that was provisioned.
    services: Mutex<BTreeMap<String, DatabaseSettings>>,
}

impl PostgresSchemas {
    fn new(admin: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { admin: admin.to_owned(), prefix: format!("t{number}_"), services: Mutex::default() }
    }

    /// How a service connects. Provisions it the first time.
    fn settings(&self, service: &str) -> DatabaseSettings {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.entry(service.to_owned()).or_insert_with(|| self.provision(service)).clone()
    }

    fn provision(&self, service: &str) -> DatabaseSettings {
        let DatabaseOfProcess { name: database, admin_url } = database_of_process(&self.admin);
        let short = service.trim_end_matches("-svc").replace('-', "_");
        let schema = format!("{}{short}", self.prefix);
        let password = Uuid::now_v7().to_string();
        let statements = PROVISION
            .replace(":'service'", &format!("'{schema}'"))
            .replace(":'password'", &format!("'{}'", verifier(&password)));
        let options = options(&admin_url);
        let (host, port) = (options.get_host().to_owned(), options.get_port());
        blocking(run(options, vec![statements]));
        let url = format!("postgres://{database}_{schema}:{password}@{host}:{port}/{database}");
        DatabaseSettings { url: url.into(), schema, ..DatabaseSettings::default() }
    }
}

/// What PostgreSQL keeps of a password (RFC 5802, section 3), made with one iteration.
///
/// The many iterations that are usual make it dear to guess a person's password, and each connection:
/// without optimization they are a tenth of a second of work for the client, again and again. A random
/// password is beyond guessing without them.
fn verifier(password: &str) -> String {
    let salt = Uuid::now_v7().into_bytes();
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        NonZeroU32::MIN,
        &salt,
        password.as_bytes(),
        &mut salted,
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    let [salt, stored_key, server_key] =
        [salt.as_slice(), stored_key.as_ref(), server_key.as_ref()]
            .map(|bytes| BASE64_STANDARD.encode(bytes));
    format!("SCRAM-SHA-256$1:{salt}${stored_key}:{server_key}")
}

/// The database of this process on a server.
#[derive(Clone)]
struct DatabaseOfProcess {
    name: String,
    /// The URL for an administrator of the process's own, who connects cheaply.
    admin_url: String,
}

/// The database of this process on a server, made when it is first needed. What processes that have
/// ended left behind goes then.
fn database_of_process(admin: &str) -> DatabaseOfProcess {
    static DATABASES: Mutex<BTreeMap<String, DatabaseOfProcess>> = Mutex::new(BTreeMap::new());
    let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let name = format!("{PREFIX}{}_{}", seconds(), std::process::id());
        let password = Uuid::now_v7().to_string();
        let options = options(admin);
        let (host, port) = (options.get_host(), options.get_port());
        let admin_url = format!("postgres://{name}_admin:{password}@{host}:{port}/{name}");
        let create = [
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"),
            format!("CREATE ROLE {name}_admin SUPERUSER LOGIN PASSWORD '{}'", verifier(&password)),
        ];
        blocking(run(options, create.into()));
        sweep(admin);
        DatabaseOfProcess { name, admin_url }
    };
    databases.entry(admin.to_owned()).or_insert_with(make).clone()
}

/// Drops the databases of processes that have ended, behind the tests' backs.
fn sweep(admin: &str) {
    let admin = admin.to_owned();
    std::thread::spawn(move || {
        let mut names = blocking(names(options(&admin)));
        names.retain(|name| {
            let process = name.split('_').nth(3).and_then(|process| process.parse::<u32>().ok());
            process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
        });
        for name in names {
            blocking(remove(&admin, &name));
        }
    });
}

/// The databases of all test processes. A server that is gone has none.
async fn names(options: PgConnectOptions) -> Vec<String> {
    let Ok(mut connection) = PgConnection::connect_with(&options).await else { return Vec::new() };
    let rows = sqlx::query("SELECT datname FROM pg_database WHERE datname LIKE $1")
        .bind(format!("{PREFIX}%"))
        .fetch_all(&mut connection)
        .await
        .unwrap_or_default();
    rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
}

/// Drops a database with its roles. A server that is gone has nothing to drop.
async fn remove(admin: &str, name: &str) {
    let Ok(mut connection) = PgConnection::connect_with(&options(admin)).await else { return };
    let drop = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    let _ = sqlx::raw_sql(drop).execute(&mut connection).await;
    let roles = sqlx::query("SELECT rolname::text FROM pg_roles WHERE starts_with(rolname, $1)")
        .bind(format!("{name}_"))
        .fetch_all(&mut connection)
        .await
        .unwrap_or_default();
    for role in roles.iter().filter_map(|row| row.try_get::<String, _>(0).ok()) {
        let drop = AssertSqlSafe(format!("DROP ROLE IF EXISTS {role}"));
        let _ = sqlx::raw_sql(drop).execute(&mut connection).await;
    }
}

async fn run(options: PgConnectOptions, statements: Vec<String>) {
    let mut connection = connect(&options).await;
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("a test database cannot be made: {error}"));
    }
    let _ = connection.close().await;
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL cannot be administered: {error}"))
}

fn options(url: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(url).expect("infra.json names PostgreSQL by a URL")
}

fn seconds() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
