//! The databases of one test: files in a folder, or, on real servers, a schema and a role of the
//! test's own for each service, made as an administrator makes them.
//!
//! The schemas of all tests of a process lie in one PostgreSQL database: making and dropping a database
//! for each would keep the server's disk busier than the stories do. It is swept up by a later run.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use mainstay::kernel::settings::DatabaseSettings;
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
        let (server, _) = postgres.admin.rsplit_once('/').expect("the URL names a database");
        format!("{server}/{}", database_of_process(&postgres.admin))
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
        let database = database_of_process(&self.admin);
        let short = service.trim_end_matches("-svc").replace('-', "_");
        let schema = format!("{}{short}", self.prefix);
        let password = Uuid::now_v7().to_string();
        let statements = PROVISION
            .replace(":'service'", &format!("'{schema}'"))
            .replace(":'password'", &format!("'{password}'"));
        let options = options(&self.admin).database(&database);
        let (host, port) = (options.get_host().to_owned(), options.get_port());
        blocking(run(options, vec![statements]));
        let url = format!("postgres://{database}_{schema}:{password}@{host}:{port}/{database}");
        DatabaseSettings { url: url.into(), schema, ..DatabaseSettings::default() }
    }
}

/// The database of this process on a server, made when it is first needed. What processes that have
/// ended left behind goes then.
fn database_of_process(admin: &str) -> String {
    static DATABASES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let name = format!("{PREFIX}{}_{}", seconds(), std::process::id());
        let create =
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
        blocking(run(options(admin), vec![create]));
        sweep(admin);
        name
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
