//! Tokens for the stories of the server.

use std::time::SystemTime;

use async_trait::async_trait;
use mainstay::kernel::error::Result;
use mainstay::kernel::token::{Claims, KeySource, RevocationSource, Revocations};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};

/// Auth's keys, as far as a verifier sees them: one that signs what the stories need.
pub(super) struct Keys {
    pair: KeyPair,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { pair: KeyPair::generate_for(&PKCS_ED25519).unwrap() }
    }

    pub(super) fn token(&self, user: &str, expires_in: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = Claims {
            iss: "mainstay".into(),
            sub: user.into(),
            aud: "mainstay".into(),
            exp: now.saturating_add_signed(expires_in),
            nbf: now - 60,
            iat: now - 60,
            jti: "t-1".into(),
            sid: "s-1".into(),
            roles: Vec::new(),
            plan: "paid".into(),
        };
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.typ = Some("at+jwt".into());
        header.kid = Some("k-1".into());
        let key = jsonwebtoken::EncodingKey::from_ed_der(&self.pair.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}

#[async_trait]
impl KeySource for Keys {
    async fn jwks(&self) -> Result<jsonwebtoken::jwk::JwkSet> {
        use base64::Engine as _;
        let encoder = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let x = encoder.encode(self.pair.der_bytes());
        let jwk = serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k-1", "x": x,
        });
        Ok(serde_json::from_value(serde_json::json!({ "keys": [jwk] })).unwrap())
    }
}

#[async_trait]
impl RevocationSource for Keys {
    async fn revocations(&self, _: Option<SystemTime>) -> Result<Revocations> {
        Ok(Revocations { session_ids: Vec::new(), as_of: SystemTime::now() })
    }
}
