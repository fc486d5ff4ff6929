//! How connections to Redis come about, and which errors end them.

use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind, TlsCertificates,
};
use anyhow::Context as _;

use crate::kernel::settings::RedisSettings;

/// How many commands may wait to be written; more callers wait for room, within their time-out.
const PIPELINE_BUFFER: usize = 1024;

/// The client of the settings. The message of a failure names no password.
pub(super) fn client(settings: &RedisSettings) -> anyhow::Result<Client> {
    let url = settings.url.expose().as_str();
    let client = match &settings.ca_file {
        None => Client::open(url),
        Some(file) => {
            let authorities = std::fs::read(file)
                .with_context(|| format!("redis.ca_file {} cannot be read", file.display()))?;
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(authorities) };
            Client::build_with_tls(url, certificates)
        }
    };
    client.map_err(|error| {
        // The driver's own text could repeat the address.
        anyhow::anyhow!("redis.url or redis.ca_file cannot be used ({:?}): mend it", error.kind())
    })
}

/// A connection that has answered.
pub(super) async fn connection(
    client: &Client,
    patience: Duration,
) -> anyhow::Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        // Each caller has a time-out of its own.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER);
    let opened = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        ping(&mut connection).await?;
        Ok::<_, RedisError>(connection)
    };
    in_time(patience, opened).await
}

/// A connection that listens to a channel.
pub(super) async fn listener(
    client: &Client,
    patience: Duration,
    channel: &str,
) -> anyhow::Result<PubSub> {
    let opened = async {
        let mut listener = client.get_async_pubsub().await?;
        listener.subscribe(channel).await?;
        Ok::<_, RedisError>(listener)
    };
    in_time(patience, opened).await
}

/// Asks for a sign of life.
pub(super) async fn ping(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    ::redis::cmd("PING").query_async(connection).await
}

/// Whether an error says that this connection is of no more use: it broke, or the server behind it
/// is one that cannot serve now.
pub(super) fn is_broken(error: &RedisError) -> bool {
    let serves_no_more = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::ReadOnly
        )
    );
    serves_no_more || error.is_io_error() || error.is_unrecoverable_error()
}

async fn in_time<T>(
    patience: Duration,
    opened: impl Future<Output = Result<T, RedisError>>,
) -> anyhow::Result<T> {
    let opened = tokio::time::timeout(patience, opened).await;
    Ok(opened.map_err(|_| anyhow::anyhow!("no connection within {patience:?}"))??)
}
