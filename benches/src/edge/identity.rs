//! Who calls: a key, what verifies it, and a token by it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use serde_json::json;

/// How long the token holds: longer than any run.
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// A key as each gateway wants it.
pub(super) struct Identity {
    pub(super) issuer: String,
    pub(super) audience: String,
    /// Address of the key set.
    pub(super) jwks_url: String,
    /// The public key as PEM.
    pub(super) public_key: PathBuf,
    pub(super) token: String,
}

impl Identity {
    /// Makes a key and writes its public half into the folder.
    pub(super) fn make(folder: &Path) -> anyhow::Result<Self> {
        let (issuer, audience) = ("https://issuer.bench".to_owned(), "bench".to_owned());
        let pair = KeyPair::generate_for(&PKCS_ED25519)?;
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "bench",
            "x": URL_SAFE_NO_PAD.encode(pair.der_bytes()),
        });
        let jwks = folder.join("jwks.json");
        std::fs::write(&jwks, json!({ "keys": [key] }).to_string())?;
        let public_key = folder.join("key.pem");
        std::fs::write(&public_key, pair.public_key_pem())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let claims = json!({
            "iss": issuer, "aud": audience, "sub": "bench-user", "iat": now.as_secs(),
            "nbf": now.as_secs(), "exp": (now + LIFE).as_secs(), "roles": ["member"],
        });
        let header = Header { kid: Some("bench".to_owned()), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, &claims, &EncodingKey::from_ed_der(&pair.serialize_der()))?;
        let jwks_url = format!("file://{}", jwks.display());
        Ok(Self { issuer, audience, jwks_url, public_key, token })
    }
}
