//! API keys: exchanged at auth for an access token, which is then verified like any other.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use mainstay::contract::auth::{API_KEY_INVALID, RemoteApiKeys};
use mainstay::kernel::error::{Error, Result, UNAUTHENTICATED};
use mainstay::kernel::token::{Claims, Verifier};

/// The header that has the key; as metadata, of gRPC and Connect too.
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The key of a request, where it has one. `UNAUTHENTICATED` where it also names somebody else.
pub(super) fn offered(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(X_API_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || headers.contains_key(AUTHORIZATION) {
        let message = "send one of Authorization and X-Api-Key, and that once";
        return Err(Error::new(UNAUTHENTICATED, message));
    }
    let key = value.to_str().map_err(|_| Error::new(API_KEY_INVALID, "the API key is not valid"));
    key.map(Some)
}

/// Who calls by a key. A token that is known and no longer taken is exchanged once more: its signature
/// may be of a key that auth has withdrawn, and where the API key itself is over, auth says so.
pub(super) async fn verify(
    keys: &RemoteApiKeys,
    verifier: &Verifier,
    key: &str,
) -> Result<Arc<Claims>> {
    let token = keys.token(key).await?;
    match verifier.verify(token.expose()).await {
        Err(error) if error.is(&UNAUTHENTICATED) => {
            keys.forget(key, &token).await;
            verifier.verify(keys.token(key).await?.expose()).await
        }
        verified => verified,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_names_one_caller() {
        let mut headers = HeaderMap::new();
        assert_eq!(offered(&headers).unwrap(), None);
        headers.append(X_API_KEY, HeaderValue::from_static("mainstay_x"));
        assert_eq!(offered(&headers).unwrap(), Some("mainstay_x"));
        let mut twice = headers.clone();
        twice.append(X_API_KEY, HeaderValue::from_static("mainstay_y"));
        assert!(offered(&twice).unwrap_err().is(&UNAUTHENTICATED));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert!(offered(&headers).unwrap_err().is(&UNAUTHENTICATED));
        let unreadable =
            HeaderMap::from_iter([(X_API_KEY, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert!(offered(&unreadable).unwrap_err().is(&API_KEY_INVALID));
    }
}
