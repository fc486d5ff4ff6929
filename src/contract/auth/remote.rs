//! What it takes to verify access tokens, by asking auth.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use serde_json::json;

use super::{AuthClient, proto};
use crate::kernel::error::{Error, Result};
use crate::kernel::token::{KeySource, RevocationSource, Revocations};

/// Keys and revoked sessions as auth knows them.
#[derive(Clone)]
pub struct RemoteKeys {
    client: Arc<dyn AuthClient>,
}

impl RemoteKeys {
    /// Keys over a client of auth.
    pub fn new(client: impl AuthClient + 'static) -> Self {
        Self { client: Arc::new(client) }
    }
}

#[async_trait]
impl KeySource for RemoteKeys {
    async fn jwks(&self) -> Result<JwkSet> {
        let keys = self.client.get_jwks(proto::GetJwksRequest {}).await?.keys;
        let keys: Vec<_> = keys.into_iter().map(web_key).collect();
        serde_json::from_value(json!({ "keys": keys })).map_err(Error::internal)
    }
}

#[async_trait]
impl RevocationSource for RemoteKeys {
    async fn revocations(&self, since: Option<SystemTime>) -> Result<Revocations> {
        let request = proto::ListRevocationsRequest { since: since.map(Into::into) };
        let reply = self.client.list_revocations(request).await?;
        let as_of = reply.as_of.and_then(|time| SystemTime::try_from(time).ok());
        let as_of = as_of
            .ok_or_else(|| Error::internal(anyhow::anyhow!("auth stated no time of its answer")))?;
        Ok(Revocations { session_ids: reply.session_ids, as_of })
    }
}

/// A key in the JSON form of RFC 7517.
fn web_key(key: proto::Jwk) -> serde_json::Value {
    json!({
        "kty": key.kty,
        "crv": key.crv,
        "x": key.x,
        "kid": key.kid,
        "alg": key.alg,
        "use": key.r#use,
    })
}
