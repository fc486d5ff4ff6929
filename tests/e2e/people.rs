//! The people of the stories.

use mainstay_testing::{ADMIN_EMAIL, ADMIN_PASSWORD, Platform, Rest};
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A registered user who is logged in.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) rest: Rest,
    pub(crate) tokens: Value,
}

impl Person {
    /// Registers a user of this name, logs in, and waits until identity knows who that is.
    pub(crate) async fn register(platform: &Platform, name: &str) -> Self {
        let email = format!("{name}-{}@example.com", uuid::Uuid::now_v7().simple());
        let request = json!({"email": email, "password": PASSWORD, "display_name": name});
        let reply = platform.rest().post("/api/v1/auth/register", request).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let person = Self::login(platform, &email, PASSWORD).await;
        mainstay_testing::eventually("the user is created", async || {
            (person.rest.get("/api/v1/users/me").await.status != 503).then_some(())
        })
        .await;
        person
    }

    /// The administrator that the platform began with, once its role has arrived.
    pub(crate) async fn admin(platform: &Platform) -> Self {
        let admin = Self::login(platform, ADMIN_EMAIL, ADMIN_PASSWORD).await;
        mainstay_testing::eventually("the administrator's role", async || {
            (admin.rest.get("/api/v1/roles").await.status == 200).then_some(())
        })
        .await;
        admin
    }

    /// Logs in.
    pub(crate) async fn login(platform: &Platform, email: &str, password: &str) -> Self {
        let request = json!({"email": email, "password": password});
        let reply = platform.rest().post("/api/v1/auth/login", request).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let tokens = reply.json()["data"].clone();
        let rest = platform.rest().with_bearer(tokens["access_token"].as_str().unwrap());
        let id = claims(&tokens)["sub"].as_str().unwrap().to_owned();
        Self { id, email: email.to_owned(), rest, tokens }
    }

    /// Logs in once more: another session of the same user.
    pub(crate) async fn again(&self, platform: &Platform) -> Self {
        Self::login(platform, &self.email, PASSWORD).await
    }
}

/// The claims of an access token, unverified.
pub(crate) fn claims(tokens: &Value) -> Value {
    use base64::Engine as _;
    let token = tokens["access_token"].as_str().unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&decoded).unwrap()
}
