//! Auth verifies its own tokens by its own keys, without a call to itself.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::token::{KeySource, RevocationSource, Revocations};
use serde_json::json;

use crate::app::App;

/// Keys and revocations straight from the use cases.
pub struct LocalKeys {
    app: Arc<App>,
}

impl LocalKeys {
    /// The keys of this service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl KeySource for LocalKeys {
    async fn jwks(&self) -> Result<JwkSet> {
        let keys = self.app.key_list().await?;
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({
                    "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
                    "kid": key.kid, "x": key.x,
                })
            })
            .collect();
        serde_json::from_value(json!({ "keys": keys })).map_err(Error::internal)
    }
}

#[async_trait]
impl RevocationSource for LocalKeys {
    async fn revocations(&self, since: Option<SystemTime>) -> Result<Revocations> {
        let revocations = self.app.revocation_list(since.map(Into::into)).await?;
        Ok(Revocations { session_ids: revocations.session_ids, as_of: revocations.as_of.into() })
    }
}
