//! The databases of one test: files in a folder, or, on real servers, a PostgreSQL database of the
//! test's own with one schema and one role for each service, made as an administrator makes them.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, Once, OnceLock};
use std::time::SystemTime;

use mainstay::kernel::settings::DatabaseSettings;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _, Row as _};
use uuid::Uuid;

use crate::infra::infra;

/// What gives a service its role and its schema.
const PROVISION: &str = include_str!("../../deploy/postgres/provision.sql");

/// How the databases of tests are called; the time of their making and the process follow.
const PREFIX: &str = "mainstay_test_";

/// The databases of one test. Dropped, they go away.
pub struct Databases(Option<PostgresDatabase>);

impl Databases {
    /// None yet.
    #[allow(clippy::new_without_default, reason = "it makes a database: not what a default does")]
    pub fn new() -> Self {
        Self(infra().map(|infra| PostgresDatabase::create(&infra.postgres.url)))
    }

    /// A PostgreSQL database on the server whose administrator `url` names.
    pub fn on_postgres(url: &str) -> Self {
        Self(Some(PostgresDatabase::create(url)))
    }

    /// The URL of the PostgreSQL database for its administrator.
    ///
    /// # Panics
    /// If these databases are files.
    pub fn admin_url(&self) -> String {
        let postgres = self.0.as_ref().expect("the databases are on PostgreSQL");
        let (server, _) = postgres.admin.rsplit_once('/').expect("the URL names a database");
        format!("{server}/{}", postgres.name)
    }

    /// The settings of a service's database: this file, unless the run is on real servers.
    pub fn settings(&self, service: &str, file: &Path) -> DatabaseSettings {
        let url = match &self.0 {
            Some(postgres) => postgres.url(service),
            None => format!("sqlite://{}?mode=rwc", file.display()),
        };
        DatabaseSettings { url: url.into(), ..DatabaseSettings::default() }
    }
}

/// A database on a PostgreSQL server.
struct PostgresDatabase {
    admin: String,
    name: String,
    /// The URL of each service that was provisioned.
    services: Mutex<BTreeMap<String, String>>,
}

impl PostgresDatabase {
    fn create(admin: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}_{}_{number}", seconds(), std::process::id());
        let create =
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
        sweep_once(admin);
        blocking(run(options(admin), vec![create]));
        Self { admin: admin.to_owned(), name, services: Mutex::default() }
    }

    /// The URL with which a service connects. Provisions it the first time.
    fn url(&self, service: &str) -> String {
        let mut services = self.services.lock().expect("no test panics while it provisions");
        let url = services.entry(service.to_owned()).or_insert_with(|| self.provision(service));
        url.clone()
    }

    fn provision(&self, service: &str) -> String {
        let schema = service.trim_end_matches("-svc").replace('-', "_");
        let password = Uuid::now_v7().to_string();
        let statements = PROVISION
            .replace(":'service'", &format!("'{schema}'"))
            .replace(":'password'", &format!("'{password}'"));
        let options = options(&self.admin).database(&self.name);
        let (host, port) = (options.get_host().to_owned(), options.get_port());
        blocking(run(options, vec![statements]));
        format!("postgres://{0}_{schema}:{password}@{host}:{port}/{0}", self.name)
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        // What is not dropped before the process ends, a later run sweeps up.
        let _ = janitor().send((self.admin.clone(), self.name.clone()));
    }
}

/// Drops databases one after the other, behind the tests' backs.
fn janitor() -> &'static Sender<(String, String)> {
    static JANITOR: OnceLock<Sender<(String, String)>> = OnceLock::new();
    JANITOR.get_or_init(|| {
        let (sender, done) = channel::<(String, String)>();
        std::thread::spawn(move || {
            for (admin, name) in done {
                blocking(remove(admin, name));
            }
        });
        sender
    })
}

/// Drops what processes that have ended left behind: a test process does not wait for the last drops.
fn sweep_once(admin: &str) {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        let mut names = blocking(names(options(admin)));
        names.retain(|name| {
            let process = name.split('_').nth(3).and_then(|process| process.parse::<u32>().ok());
            process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
        });
        for name in names {
            let _ = janitor().send((admin.to_owned(), name));
        }
    });
}

async fn names(options: PgConnectOptions) -> Vec<String> {
    let mut connection = connect(&options).await;
    let rows = sqlx::query("SELECT datname FROM pg_database WHERE datname LIKE $1")
        .bind(format!("{PREFIX}%"))
        .fetch_all(&mut connection)
        .await
        .expect("databases can be listed");
    rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
}

/// Drops a database with its roles. A server that is gone has nothing to drop.
async fn remove(admin: String, name: String) {
    let Ok(mut connection) = PgConnection::connect_with(&options(&admin)).await else { return };
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

/// Runs to its end, also within a test that runs on a runtime itself.
fn blocking<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the machine takes another runtime").block_on(work)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
