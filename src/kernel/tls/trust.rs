//! Servers outside the mesh: they have a certificate for the name under which they are called.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use hyper_rustls::ConfigBuilderExt as _;
use rustls::ClientConfig;

use super::{certificates, provider, read_file, root_store};

/// Whose word is taken for who a server is.
#[derive(Clone, Debug)]
pub struct ServerTrust {
    client: Arc<ClientConfig>,
}

impl ServerTrust {
    /// Trusts the authorities of a PEM file; without one, those of this machine.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn read(authorities: Option<&Path>) -> anyhow::Result<Self> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match authorities {
            Some(file) => {
                let named = || file.display().to_string();
                let authorities = certificates(&read_file(file)?).with_context(named)?;
                builder.with_root_certificates(root_store(&authorities).with_context(named)?)
            }
            None => {
                builder.with_native_roots().context("the machine's authorities cannot be read")?
            }
        };
        Ok(Self { client: Arc::new(builder.with_no_client_auth()) })
    }

    /// For connections to such servers. ALPN is left to the connector.
    pub(in crate::kernel) fn client_config(&self) -> ClientConfig {
        ClientConfig::clone(&self.client)
    }
}
