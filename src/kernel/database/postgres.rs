//! PostgreSQL: a schema and a login role for each service in one database.
//!
//! What a connection is set to travels with its start, so it holds for every statement, and after a
//! `RESET` too: the schema is all that unqualified names reach, and nothing waits for ever.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Error as DriverError, Row as _};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector};

use super::failure::sql_state;
use super::pool::location;
use crate::kernel::settings::DatabaseSettings;

/// Who creates role, schema and grants.
const PROVISION: &str = "deploy/postgres/provision.sql";

/// How long a start waits for a server that is starting itself, or has no connection free.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long one attempt to connect may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is asked whether it still lives before it is used.
const IDLE_TRUST: Duration = Duration::from_secs(1);

/// The longest name that PostgreSQL keeps.
const LONGEST_NAME: usize = 63;

/// A pool of `service` that connects when first used.
pub(super) fn open(
    service: &str,
    settings: &DatabaseSettings,
) -> anyhow::Result<DatabaseConnection> {
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > IDLE_TRUST {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options(service, settings)?);
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

/// Makes a first connection and looks whether the role may work in its schema; or says why not and
/// what to do.
pub(super) async fn connect(pool: &DatabaseConnection, location: &str) -> anyhow::Result<()> {
    let options = pool.get_postgres_connection_pool().connect_options();
    let mut connection = first_connection(&options).await.map_err(|error| {
        let mend = mend(&error);
        anyhow::Error::new(error).context(format!("cannot open the database {location}; {mend}"))
    })?;
    let checked = check_schema(&mut connection, schema_of(&options)).await;
    // What was asked is known; a connection that does not close in order is closed by its end.
    let _ = connection.close().await;
    checked.with_context(|| format!("cannot use the database {location}"))
}

/// Refuses a role that could do more than its service ever needs.
pub(super) async fn refuse_privileged_role(pool: &DatabaseConnection) -> anyhow::Result<()> {
    let row = sqlx::query(
        "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(pool.get_postgres_connection_pool())
    .await?;
    let role: String = row.try_get(0)?;
    for (column, what) in [(1, "is a superuser"), (2, "may bypass row security (BYPASSRLS)")] {
        ensure!(
            !row.try_get::<bool, _>(column)?,
            "the database role {role} {what}, which mode = \"production\" refuses: name in \
             database.url the role of this service alone, which {PROVISION} creates"
        );
    }
    Ok(())
}

/// How to connect, with what every connection is set to.
fn options(service: &str, settings: &DatabaseSettings) -> anyhow::Result<PgConnectOptions> {
    let url = settings.url.expose();
    let schema = schema(service, &settings.schema)?;
    // The driver's words for a URL that it cannot read may repeat parts of it.
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        let location = location(url);
        anyhow::anyhow!(
            "cannot use the database {location}; correct the setting database.url: \
             postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE, with \
             the characters :/?#@ of a password as %3A %2F %3F %23 %40"
        )
    })?;
    let millis = |duration: Duration| duration.as_millis().to_string();
    Ok(options
        .application_name(service)
        .options([
            ("search_path", schema),
            ("statement_timeout", millis(settings.statement_timeout)),
            ("lock_timeout", millis(settings.lock_timeout)),
            ("idle_in_transaction_session_timeout", millis(settings.idle_in_transaction_timeout)),
        ])
        .disable_statement_logging())
}

/// The schema stated, or else the service's short name: `identity` for `identity-svc`.
fn schema(service: &str, stated: &str) -> anyhow::Result<String> {
    let short = service.strip_suffix("-svc").unwrap_or(service).replace('-', "_");
    let schema = if stated.is_empty() { short } else { stated.to_owned() };
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let sound = schema.len() <= LONGEST_NAME
        && schema.bytes().next().is_some_and(letters)
        && schema.bytes().all(|byte| letters(byte) || byte.is_ascii_digit());
    ensure!(
        sound,
        "the database schema {schema:?} is no plain name: set database.schema to lower-case \
         letters, digits and _"
    );
    Ok(schema)
}

/// The schema that [`options`] has put into the connection's start.
pub(super) fn schema_of(options: &PgConnectOptions) -> &str {
    let all = options.get_options().unwrap_or_default();
    let stated = all.rsplit_once("search_path=").map_or(all, |(_, rest)| rest);
    stated.split(' ').next().unwrap_or_default()
}

/// A server that starts up, or has no connection free, is waited for.
async fn first_connection(options: &PgConnectOptions) -> Result<PgConnection, DriverError> {
    let deadline = tokio::time::Instant::now() + START_PATIENCE;
    loop {
        let attempt = tokio::time::timeout(CONNECT_PATIENCE, PgConnection::connect_with(options));
        let error = match attempt.await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => DriverError::Io(std::io::ErrorKind::TimedOut.into()),
        };
        let passing = matches!(sql_state(&error).as_deref(), Some("57P03" | "53300"));
        if !passing || tokio::time::Instant::now() > deadline {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn check_schema(connection: &mut PgConnection, schema: &str) -> anyhow::Result<()> {
    let row = sqlx::query(
        "SELECT current_user::text, current_schema() IS NOT NULL, \
         has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE') \
         FROM (SELECT to_regnamespace($1)::oid AS oid) AS named",
    )
    .bind(schema)
    .fetch_one(connection)
    .await?;
    let role: String = row.try_get(0)?;
    match row.try_get::<Option<bool>, _>(2)? {
        Some(true) => Ok(()),
        Some(false) => bail!(
            "the role {role} may not create tables in the schema {schema}: run {PROVISION} for the \
             service, which makes its role the schema's owner, or correct the user in database.url \
             or the setting database.schema"
        ),
        None => bail!(
            "it has no schema {schema}: run {PROVISION} for the service, or correct the setting \
             database.schema"
        ),
    }
}

/// What to do about a failed connection.
fn mend(error: &DriverError) -> &'static str {
    match (error, sql_state(error).as_deref()) {
        (_, Some("28P01" | "28000")) => {
            "correct the user and the password in the setting database.url, or in the file that \
             database.url_file names"
        }
        (_, Some("3D000")) => {
            "create the database and run deploy/postgres/provision.sql in it, or correct its name in \
             the setting database.url"
        }
        (_, Some("42501")) => {
            "run deploy/postgres/provision.sql in it, which lets the service's role connect"
        }
        (_, Some("57P03")) => "wait until it has started",
        (_, Some("53300")) => {
            "raise max_connections of the server, or lower the setting database.max_connections of \
             those who share it"
        }
        (DriverError::Tls(_), _) => {
            "correct sslmode and sslrootcert in the setting database.url, or the server's certificate"
        }
        (DriverError::Configuration(_), _) => "correct the setting database.url",
        _ => "check that it runs, and host and port in the setting database.url",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(schema: &str) -> DatabaseSettings {
        DatabaseSettings {
            url: "postgres://u:secret@127.0.0.1:5432/mainstay".into(),
            schema: schema.into(),
            ..DatabaseSettings::default()
        }
    }

    #[test]
    fn the_schema_is_the_short_name_of_the_service_unless_stated() {
        for (service, stated, schema) in [
            ("identity-svc", "", "identity"),
            ("orders", "", "orders"),
            ("big-orders-svc", "", "big_orders"),
            ("identity-svc", "people_2", "people_2"),
        ] {
            let options = options(service, &settings(stated)).expect("sound settings");
            assert_eq!(schema_of(&options), schema);
            assert_eq!(options.get_application_name(), Some(service));
        }
    }

    #[test]
    fn a_schema_that_is_no_plain_name_is_refused() {
        let long = "a".repeat(64);
        for stated in ["Identity", "a b", "a;drop", "$user", "1a", &long] {
            let error = options("identity-svc", &settings(stated)).expect_err(stated);
            assert!(error.to_string().contains("database.schema"), "{error}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_shown() {
        let url = "postgres://u:sec/ret@127.0.0.1:x/mainstay".into();
        let settings = DatabaseSettings { url, ..DatabaseSettings::default() };
        let error = format!("{:#}", options("identity-svc", &settings).expect_err("no URL"));
        assert!(error.contains("database.url") && !error.contains("ret"), "{error}");
    }
}
