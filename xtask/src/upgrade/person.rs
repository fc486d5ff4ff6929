//! Somebody who uses the platform, by its REST interface.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::edge::Edge;
use crate::credentials::{Credentials, PASSWORD_LENGTH, password_of};
use crate::home::Home;
use crate::http::Request;
use crate::infra::random_uuid;

/// A user who is logged in.
pub(crate) struct Person<'a> {
    edge: &'a Edge,
    pub(crate) id: String,
    pub(crate) email: String,
    password: String,
    plan: String,
    access_token: String,
    refresh_token: String,
}

impl<'a> Person<'a> {
    /// Registers and logs in.
    pub(crate) fn register(edge: &'a Edge) -> anyhow::Result<Self> {
        let email = format!("{}@example.com", random_uuid());
        let password = password_of(PASSWORD_LENGTH);
        let body = json!({"email": email, "password": password, "display_name": "new"});
        edge.call("register", Request::post("/api/v1/auth/register", &body))?;
        Self::login(edge, &email, &password)
    }

    /// The first administrator.
    pub(crate) fn administrator(edge: &'a Edge, home: &Home) -> anyhow::Result<Self> {
        let admin = Credentials::of(home).admin()?;
        Self::login(edge, &admin.email, &admin.password)
    }

    fn login(edge: &'a Edge, email: &str, password: &str) -> anyhow::Result<Self> {
        let mut person = Self {
            edge,
            id: String::new(),
            email: email.to_owned(),
            password: password.to_owned(),
            plan: String::new(),
            access_token: String::new(),
            refresh_token: String::new(),
        };
        person.login_again()?;
        Ok(person)
    }

    /// Begins another session.
    pub(crate) fn login_again(&mut self) -> anyhow::Result<()> {
        let body = json!({"email": self.email, "password": self.password});
        let tokens = self.edge.call("log in", Request::post("/api/v1/auth/login", &body))?;
        self.take(&tokens)
    }

    /// Exchanges the session's tokens, so that one session goes through the hands of both versions.
    pub(crate) fn refresh(&mut self) -> anyhow::Result<()> {
        let body = json!({"refresh_token": self.refresh_token});
        let tokens = self.edge.call("refresh", Request::post("/api/v1/auth/refresh", &body))?;
        self.take(&tokens)
    }

    /// The plan that the token states.
    pub(crate) fn plan(&self) -> &str {
        &self.plan
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call("GET", path, Request::get(path))
    }

    /// A page of a list, and the cursor of the next one.
    pub(crate) fn page(&self, path: &str) -> anyhow::Result<(Value, Option<String>)> {
        let mut reply = self.edge.reply(&format!("GET {path}"), self.signed(Request::get(path)))?;
        let next = reply["meta"]["next_cursor"].as_str().filter(|cursor| !cursor.is_empty());
        let next = next.map(str::to_owned);
        Ok((reply["data"].take(), next))
    }

    /// POST.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call("POST", path, Request::post(path, body))
    }

    /// PATCH.
    pub(crate) fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call("PATCH", path, Request::patch(path, body))
    }

    /// DELETE.
    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call("DELETE", path, Request::delete(path))
    }

    /// GET whose refusal is an answer too.
    pub(crate) fn ask(&self, path: &str) -> anyhow::Result<Value> {
        self.edge.ask(self.signed(Request::get(path)))
    }

    /// Puts down something that was not as it was written.
    pub(crate) fn expect(&self, what: &str, found: &Value, expected: &Value) {
        if found != expected {
            self.edge.object(format!("{what} is {found}, and {expected} was written"));
        }
    }

    fn call(&self, method: &str, path: &str, request: Request<'_>) -> anyhow::Result<Value> {
        self.edge.call(&format!("{method} {path}"), self.signed(request))
    }

    fn signed<'r>(&self, request: Request<'r>) -> Request<'r> {
        request.header("authorization", &format!("Bearer {}", self.access_token))
    }

    fn take(&mut self, tokens: &Value) -> anyhow::Result<()> {
        let token = |name: &str| tokens[name].as_str().map(str::to_owned);
        self.access_token = token("access_token").context("a login without access token")?;
        self.refresh_token = token("refresh_token").context("a login without refresh token")?;
        let claims = claims(&self.access_token).context("the access token is no JWT")?;
        let claim = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        (self.id, self.plan) = (claim("sub"), claim("plan"));
        Ok(())
    }
}

/// What a JWT says (RFC 7519, section 3), unverified.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whom_it_is_about() {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"sub": "7"}"#));
        assert_eq!(claims(&token).unwrap()["sub"], "7");
        assert_eq!(claims("opaque"), None);
    }
}
