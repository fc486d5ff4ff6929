//! What kind of tokens a verifier takes.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors};
use serde::Deserialize;

use super::{Claims, MAX_TOKEN_SECONDS};

/// Whose tokens they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// The platform's own: RFC 9068, EdDSA or ES256, short-lived, with all the claims there are.
    Platform,
    /// Any issuer's: RFC 7519.
    AnyIssuer,
}

/// The signatures that OpenID providers use, with the names that keys state for them.
const RSA: [(Algorithm, KeyAlgorithm); 6] = [
    (Algorithm::RS256, KeyAlgorithm::RS256),
    (Algorithm::RS384, KeyAlgorithm::RS384),
    (Algorithm::RS512, KeyAlgorithm::RS512),
    (Algorithm::PS256, KeyAlgorithm::PS256),
    (Algorithm::PS384, KeyAlgorithm::PS384),
    (Algorithm::PS512, KeyAlgorithm::PS512),
];

/// The claims of RFC 7519, section 4.1, that matter here.
#[derive(Deserialize)]
struct Registered {
    iss: String,
    sub: String,
    exp: f64,
    #[serde(default)]
    nbf: f64,
    #[serde(default)]
    iat: f64,
    #[serde(default)]
    jti: String,
}

impl Profile {
    /// Whether a token with this `typ` can be an access token.
    pub(super) fn takes_type(self, typ: Option<&str>) -> bool {
        let typ = typ.map(str::to_ascii_lowercase);
        // The media type's short form of RFC 7515, section 4.1.9.
        let short = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        match self {
            Self::Platform => short == Some("at+jwt"), // RFC 9068, section 4
            Self::AnyIssuer => matches!(short, None | Some("jwt" | "at+jwt")),
        }
    }

    /// The id of the key that a token names; empty where it may name none.
    pub(super) fn key_id(self, stated: Option<&str>) -> Option<&str> {
        match self {
            Self::Platform => stated,
            Self::AnyIssuer => Some(stated.unwrap_or_default()),
        }
    }

    /// How long a token may be valid from now, in seconds.
    pub(super) fn longest_life(self) -> u64 {
        match self {
            Self::Platform => MAX_TOKEN_SECONDS,
            Self::AnyIssuer => u64::MAX,
        }
    }

    /// The claims that every token must have.
    pub(super) fn required_claims(self) -> &'static [&'static str] {
        match self {
            Self::Platform => &["iss", "sub", "aud", "exp", "nbf"],
            Self::AnyIssuer => &["iss", "sub", "aud", "exp"],
        }
    }

    /// What a key may verify; nothing when it is not for us.
    pub(super) fn algorithms(self, jwk: &Jwk) -> Vec<Algorithm> {
        let known: &[(Algorithm, KeyAlgorithm)] = match (&jwk.algorithm, self) {
            (AlgorithmParameters::OctetKeyPair(key), _) if key.curve == EllipticCurve::Ed25519 => {
                &[(Algorithm::EdDSA, KeyAlgorithm::EdDSA)]
            }
            (AlgorithmParameters::EllipticCurve(key), _) if key.curve == EllipticCurve::P256 => {
                &[(Algorithm::ES256, KeyAlgorithm::ES256)]
            }
            (AlgorithmParameters::EllipticCurve(key), Self::AnyIssuer)
                if key.curve == EllipticCurve::P384 =>
            {
                &[(Algorithm::ES384, KeyAlgorithm::ES384)]
            }
            (AlgorithmParameters::RSA(_), Self::AnyIssuer) => &RSA,
            _ => &[],
        };
        let stated = jwk.common.key_algorithm;
        let fits = known.iter().filter(|(_, name)| stated.is_none_or(|stated| stated == *name));
        fits.map(|(algorithm, _)| *algorithm).collect()
    }

    /// The claims of a token whose signature and times hold.
    pub(super) fn decode(
        self,
        token: &str,
        key: &DecodingKey,
        validation: &Validation,
    ) -> errors::Result<Claims> {
        match self {
            Self::Platform => Ok(decode::<Claims>(token, key, validation)?.claims),
            Self::AnyIssuer => Ok(decode::<Registered>(token, key, validation)?.claims.into()),
        }
    }
}

impl From<Registered> for Claims {
    fn from(claims: Registered) -> Self {
        // Whole seconds do; numbers beyond what is a time saturate.
        Self {
            iss: claims.iss,
            sub: claims.sub,
            aud: String::new(),
            exp: claims.exp as u64,
            nbf: claims.nbf as u64,
            iat: claims.iat as u64,
            jti: claims.jti,
            sid: String::new(),
            roles: Vec::new(),
            plan: String::new(),
        }
    }
}
