#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _};
use serde_json::{Value, json};

use super::*;
use crate::kernel::error::UNAVAILABLE;

/// A key pair under the id `kid`.
struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    pair: KeyPair,
}

impl Signer {
    fn ed25519(kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        Self { kid, algorithm: Algorithm::EdDSA, pair }
    }

    fn p256(kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self { kid, algorithm: Algorithm::ES256, pair }
    }

    fn jwk(&self) -> Value {
        let raw = self.pair.der_bytes();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self.algorithm {
            Algorithm::EdDSA => json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid,
                "x": text(raw),
            }),
            // An uncompressed point: 4, then x and y.
            _ => json!({
                "kty": "EC", "crv": "P-256", "kid": self.kid,
                "x": text(&raw[1..33]), "y": text(&raw[33..]),
            }),
        }
    }

    fn sign(&self, header: impl FnOnce(&mut Header), claims: &Value) -> String {
        let der = self.pair.serialize_der();
        let key = match self.algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            _ => EncodingKey::from_ec_der(&der),
        };
        let mut stated = Header::new(self.algorithm);
        stated.typ = Some("at+jwt".into());
        stated.kid = Some(self.kid.into());
        header(&mut stated);
        encode(&stated, claims, &key).unwrap()
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(|_| {}, claims)
    }
}

fn claims() -> Value {
    let now = get_current_timestamp();
    json!({
        "iss": "https://issuer", "sub": "user", "aud": "mainstay", "exp": now + 600, "nbf": now,
        "iat": now, "jti": "token", "sid": "session", "roles": ["member"], "plan": "free",
    })
}

fn with(change: Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// A source of keys and ended sessions that counts the questions; away while it has no keys.
#[derive(Default)]
struct Source {
    keys: Mutex<Vec<Value>>,
    ended: Mutex<Vec<String>>,
    is_away: Mutex<bool>,
    asked: AtomicUsize,
    since: Mutex<Vec<Option<SystemTime>>>,
}

#[async_trait]
impl KeySource for Source {
    async fn jwks(&self) -> Result<JwkSet> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if *self.is_away.lock().unwrap() {
            return Err(Error::unavailable("auth is away"));
        }
        Ok(serde_json::from_value(json!({ "keys": *self.keys.lock().unwrap() })).unwrap())
    }
}

#[async_trait]
impl RevocationSource for Source {
    async fn revocations(&self, since: Option<SystemTime>) -> Result<Revocations> {
        if *self.is_away.lock().unwrap() {
            return Err(Error::unavailable("auth is away"));
        }
        self.since.lock().unwrap().push(since);
        let session_ids = self.ended.lock().unwrap().clone();
        Ok(Revocations { session_ids, as_of: SystemTime::UNIX_EPOCH + Duration::from_secs(7) })
    }
}

fn verifier(signers: &[&Signer]) -> (Arc<Verifier>, Arc<Source>) {
    let source = Arc::new(Source::default());
    *source.keys.lock().unwrap() = signers.iter().map(|signer| signer.jwk()).collect();
    let settings = TokenSettings { issuer: "https://issuer".into(), audience: "mainstay".into() };
    (Verifier::new(settings, source.clone(), source.clone()), source)
}

#[tokio::test]
async fn both_algorithms_verify() {
    for signer in [Signer::ed25519("a"), Signer::p256("b")] {
        let (verifier, source) = verifier(&[&signer]);
        let token = signer.token(&claims());
        let verified = verifier.verify(&token).await.unwrap();
        assert_eq!((verified.sub.as_str(), verified.plan.as_str()), ("user", "free"));
        assert!(Arc::ptr_eq(&verified, &verifier.verify(&token).await.unwrap()), "remembered");
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn tokens_with_wrong_claims_are_refused() {
    let signer = Signer::ed25519("a");
    let (verifier, _) = verifier(&[&signer]);
    let now = get_current_timestamp();
    let cases = [
        (json!({ "iss": "https://other" }), "not valid"),
        (json!({ "iss": null }), "not valid"),
        (json!({ "aud": "other" }), "not valid"),
        (json!({ "aud": null }), "not valid"),
        (json!({ "sub": null }), "not valid"),
        (json!({ "sid": null }), "not valid"),
        (json!({ "exp": now - 60 }), "has expired"),
        (json!({ "exp": null }), "not valid"),
        (json!({ "exp": (now + 600).to_string() }), "not valid"),
        (json!({ "exp": now + 365 * 24 * 60 * 60 }), "valid for too long"),
        (json!({ "nbf": now + 60 }), "not valid"),
        (json!({ "nbf": null }), "not valid"),
        (json!({ "nbf": now.to_string() }), "not valid"),
    ];
    for (change, expected) in cases {
        let error = verifier.verify(&signer.token(&with(change.clone()))).await.unwrap_err();
        assert!(
            error.is(&UNAUTHENTICATED) && error.message().contains(expected),
            "{change}: {error}"
        );
    }
}

#[tokio::test]
async fn forged_and_foreign_tokens_are_refused() {
    let (signer, forger) = (Signer::ed25519("a"), Signer::ed25519("a"));
    let other = Signer::p256("b");
    let (verifier, _) = verifier(&[&signer, &other]);
    let good = signer.token(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = |alg: &str| encoded(&json!({ "alg": alg, "typ": "at+jwt", "kid": "a" }));
    let secret = EncodingKey::from_secret(signer.pair.der_bytes());
    let mut symmetric = Header::new(Algorithm::HS256);
    (symmetric.typ, symmetric.kid) = (Some("at+jwt".into()), Some("a".into()));
    let tokens = [
        ("empty", String::new()),
        ("garbage", "a.b.c".into()),
        ("none", format!("{}.{}.", header("none"), encoded(&claims()))),
        ("none with a signature", format!("{}.{}.{signature}", header("None"), encoded(&claims()))),
        ("no signature", format!("{message}.")),
        ("forged", forger.token(&claims())),
        ("other content", format!("{}.{signature}", message.replace('J', "K"))),
        ("public key as secret", encode(&symmetric, &claims(), &secret).unwrap()),
        ("another key's id", signer.sign(|header| header.kid = Some("b".into()), &claims())),
        ("no key id", signer.sign(|header| header.kid = None, &claims())),
        ("another type", signer.sign(|header| header.typ = Some("JWT".into()), &claims())),
        ("no type", signer.sign(|header| header.typ = None, &claims())),
        ("extension", signer.sign(|header| header.crit = Some(vec!["b64".into()]), &claims())),
        ("too long", "a".repeat(100_000)),
    ];
    for (name, token) in tokens {
        let error = verifier.verify(&token).await.unwrap_err();
        assert!(error.is(&UNAUTHENTICATED), "{name}: {error}");
    }
    verifier.verify(&good).await.unwrap();
}

#[tokio::test]
async fn keys_not_for_us_are_passed_over() {
    let signer = Signer::ed25519("a");
    let (verifier, source) = verifier(&[]);
    let mut encryption = signer.jwk();
    encryption["use"] = json!("enc");
    let mut mislabelled = signer.jwk();
    (mislabelled["alg"], mislabelled["kid"]) = (json!("ES256"), json!("c"));
    *source.keys.lock().unwrap() = vec![
        encryption,
        mislabelled,
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "d", "alg": "HS256" }),
        Signer::p256("e").jwk(),
    ];
    for kid in ["a", "c", "d"] {
        let token = signer.sign(|header| header.kid = Some(kid.into()), &claims());
        assert!(verifier.verify(&token).await.unwrap_err().is(&UNAUTHENTICATED), "{kid}");
    }
}

#[tokio::test]
async fn unknown_keys_make_us_ask_once() {
    let (signer, next) = (Signer::ed25519("a"), Signer::ed25519("b"));
    let (verifier, source) = verifier(&[&signer]);
    let made_up = next.token(&claims());
    let flood = (0..100).map(|_| verifier.verify(&made_up));
    for outcome in futures::future::join_all(flood).await {
        assert!(outcome.unwrap_err().is(&UNAUTHENTICATED));
    }
    assert_eq!(source.asked.load(Ordering::SeqCst), 1, "the first question is the only one");
    source.keys.lock().unwrap().push(next.jwk());
    verifier.keys.refresh().await.unwrap();
    verifier.verify(&made_up).await.unwrap();
}

#[tokio::test]
async fn nothing_is_known_before_keys_arrive_and_the_last_ones_hold() {
    let signer = Signer::ed25519("a");
    let (verifier, source) = verifier(&[&signer]);
    let token = signer.token(&claims());
    *source.is_away.lock().unwrap() = true;
    assert!(verifier.verify(&token).await.unwrap_err().is(&UNAVAILABLE));
    *source.is_away.lock().unwrap() = false;
    verifier.keys.refresh().await.unwrap();
    verifier.verify(&token).await.unwrap();
    *source.is_away.lock().unwrap() = true;
    assert!(verifier.keys.refresh().await.is_err() && verifier.revoked.refresh().await.is_err());
    verifier.verify(&token).await.unwrap();
    verifier.verify(&signer.token(&with(json!({ "jti": "another" })))).await.unwrap();
}

#[tokio::test]
async fn ended_sessions_are_refused_even_when_remembered() {
    let signer = Signer::ed25519("a");
    let (verifier, source) = verifier(&[&signer]);
    let token = signer.token(&claims());
    verifier.verify(&token).await.unwrap();
    source.ended.lock().unwrap().push("session".into());
    verifier.revoked.refresh().await.unwrap();
    let error = verifier.verify(&token).await.unwrap_err();
    assert!(error.is(&UNAUTHENTICATED) && error.message() == "the session is over");
    source.ended.lock().unwrap().clear();
    verifier.revoked.refresh().await.unwrap();
    assert!(verifier.verify(&token).await.is_err(), "an end is final");
    verifier.verify(&signer.token(&with(json!({ "sid": "another" })))).await.unwrap();
    let since = source.since.lock().unwrap().clone();
    let as_of = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
    assert_eq!(since, [None, Some(as_of), Some(as_of)]);
}

#[tokio::test]
async fn who_waits_for_the_end_of_a_session_hears_of_it() {
    let (verifier, source) = verifier(&[]);
    let mut waiting = Box::pin(verifier.ended("session"));
    assert!(waiting.as_mut().now_or_never().is_none());
    source.ended.lock().unwrap().push("another".into());
    verifier.revoked.refresh().await.unwrap();
    assert!(waiting.as_mut().now_or_never().is_none(), "it is not the one");
    source.ended.lock().unwrap().push("session".into());
    verifier.revoked.refresh().await.unwrap();
    assert!(waiting.await.is(&UNAUTHENTICATED));
    assert!(verifier.ended("session").await.is(&UNAUTHENTICATED), "it is over already");
}

#[tokio::test]
async fn the_refresh_learns_of_ended_sessions() {
    let signer = Signer::ed25519("a");
    let (verifier, source) = verifier(&[&signer]);
    let token = signer.token(&claims());
    let shutdown = CancellationTokenGuard::default();
    verifier.spawn_refresh(shutdown.0.clone());
    verifier.verify(&token).await.unwrap();
    source.ended.lock().unwrap().push("session".into());
    eventually(async || verifier.verify(&token).await.is_err()).await;
}

#[tokio::test]
async fn a_withdrawn_key_takes_its_tokens_along() {
    let (signer, next) = (Signer::ed25519("a"), Signer::ed25519("b"));
    let (verifier, source) = verifier(&[&signer]);
    let token = signer.token(&claims());
    verifier.verify(&token).await.unwrap();
    *source.keys.lock().unwrap() = vec![next.jwk()];
    verifier.keys.refresh().await.unwrap();
    assert!(verifier.verify(&token).await.unwrap_err().is(&UNAUTHENTICATED));
}

#[derive(Default)]
struct CancellationTokenGuard(tokio_util::sync::CancellationToken);

impl Drop for CancellationTokenGuard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn eventually(mut probe: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !probe().await {
        assert!(start.elapsed() < Duration::from_secs(10), "it must happen within 10 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Valid until the year 2100, for the audiences `other` and `mainstay`.
const RS256_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiciJ9.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1Z\
     XIiLCAiYXVkIjogWyJvdGhlciIsICJtYWluc3RheSJdLCAic3ViIjogInVzZXIiLCAiZXhwIjogNDEwMjQ0NDg\
     wMH0.Sn3fiaARA7XaxKwzblXoI0smq_01hRwpegeiVaRUnDjZrrnrPs-vH_l3E3yCKCGYrC9zvE7v-nfDtCiV9\
     -qnlYhJX74qmEp6R3qd2zdQKR8gMcOOdcLw0cL8ncIW64_bIhWq9qDRGg8OiGO1_MHiDq2jnXxPS7zwdMlQfO0\
     j9hD5i5AHi9KkiRODiJU111RKxif9k0b48DLOaYP7x077-hgry-o2gRrlvsOYJUBt4xg5WTNXkdJf2PshCB-8h\
     IBa-JXeqSgoNANOUlvqWphOWPdBhbCqSxkFy6OKfBsU_FvBCC4gqFl7p12F5djd3gY6i26whzTckqVB7mp-cqi\
     eIw";

/// The modulus of the key that signed it.
const RS256_MODULUS: &str = "xI_zdUbxAIcVD9PkvhTdzxuPYR8V8YFR32eErQnz3FFHwprfloDfbvKGeQveSlJ_3-uh5ySgwGf1arL_DRpq_g\
     YkSbnjZ6Yq8-OGlMENi685P-0OfDnFVFnQzjs8JqIAI2mW9ZL7yWlwOUXhbSjfvdTLU6bMG6BX9_AbY5jUu2iq\
     GYNV0GHhmWWjPFpt9K2aq5FCggKRoaBi2UnM6Vhk5-WnY39k-YlWAoKP13ajD9lDhwkeNkZWm4Qa80HgQ-YciA\
     a4H9xCeGMH-rc7qNagPxukug7RhdEefa5zeo5o17VADU3cfYr_Kq6fxGJR2w0oFJKZeEiZT9OzPQxkvJAk8w";

fn rsa_key() -> Value {
    json!({ "kty": "RSA", "kid": "r", "n": RS256_MODULUS, "e": "AQAB" })
}

fn of_any_issuer(keys: Vec<Value>) -> Arc<Verifier> {
    let source = Arc::new(Source::default());
    *source.keys.lock().unwrap() = keys;
    let settings = TokenSettings { issuer: "https://issuer".into(), audience: "mainstay".into() };
    Verifier::of_any_issuer(settings, source)
}

#[tokio::test]
async fn tokens_of_any_issuer_need_only_what_the_standard_asks_for() {
    let signer = Signer::p256("b");
    let verifier = of_any_issuer(vec![rsa_key(), signer.jwk()]);
    assert_eq!(verifier.verify(RS256_TOKEN).await.unwrap().sub, "user");
    let next_year = get_current_timestamp() + 365 * 24 * 60 * 60;
    let bare = json!({ "iss": "https://issuer", "aud": "mainstay", "sub": "u", "exp": next_year });
    for typ in [None, Some("JWT"), Some("application/at+jwt")] {
        let token = signer.sign(|header| header.typ = typ.map(str::to_owned), &bare);
        assert_eq!(verifier.verify(&token).await.unwrap().sub, "u", "{typ:?}");
    }
    for (change, what) in [
        (json!({ "iss": "https://other" }), "issuer"),
        (json!({ "aud": "other" }), "audience"),
        (json!({ "exp": 1 }), "expiry"),
        (json!({ "nbf": next_year }), "start"),
        (json!({ "sub": null }), "subject"),
    ] {
        let mut claims = bare.clone();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let error = verifier.verify(&signer.token(&claims)).await.unwrap_err();
        assert!(error.is(&UNAUTHENTICATED), "{what}: {error}");
    }
    let logout = signer.sign(|header| header.typ = Some("logout+jwt".into()), &bare);
    assert!(verifier.verify(&logout).await.is_err());
    // The key that a token does not name is the one that has no name.
    let nameless = signer.sign(|header| header.kid = None, &bare);
    assert!(verifier.verify(&nameless).await.is_err());
    let mut key = signer.jwk();
    key.as_object_mut().unwrap().remove("kid");
    assert_eq!(of_any_issuer(vec![key]).verify(&nameless).await.unwrap().sub, "u");
}

#[tokio::test]
async fn the_platforms_own_tokens_are_signed_by_its_two_algorithms_alone() {
    let (verifier, source) = verifier(&[&Signer::ed25519("a")]);
    source.keys.lock().unwrap().push(rsa_key());
    let error = verifier.verify(RS256_TOKEN).await.unwrap_err();
    assert!(error.is(&UNAUTHENTICATED), "{error}");
}
