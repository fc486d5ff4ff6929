//! The person for whom users, roles and the trail are asked.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use mainstay::contract::auth::proto::{LoginRequest, LogoutRequest, RefreshRequest, TokenPair};
use mainstay::contract::auth::{self, AuthClient as _, GrpcAuthClient};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::{Deserialize, Serialize};

use crate::mesh::Mesh;
use crate::settings::Settings;

/// Seconds before its end at which an access token is renewed.
const MARGIN: i64 = 10;

/// The tokens of a login, in a file that only its owner reads.
#[derive(Serialize, Deserialize)]
struct Session {
    access_token: String,
    refresh_token: String,
    /// Unix seconds.
    expires_at: i64,
}

/// The access token to act with: the one stated, else that of the login, renewed if it has expired.
pub(crate) async fn token(settings: &Settings, mesh: &Mesh) -> anyhow::Result<String> {
    if let Some(token) = &settings.token {
        return Ok(token.clone());
    }
    let path = &settings.session;
    let Ok(text) = std::fs::read(path) else {
        bail!("nobody is logged in: mainstayctl login --email …, or state --token");
    };
    let session: Session = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged: log in again", path.display()))?;
    if session.expires_at - MARGIN > chrono::Utc::now().timestamp() {
        return Ok(session.access_token);
    }
    let request = RefreshRequest { refresh_token: session.refresh_token };
    let tokens =
        client(mesh)?.refresh(request).await.context("the session has ended: log in again")?;
    keep(path, &tokens)?;
    Ok(tokens.access_token)
}

/// Logs in and keeps the tokens.
pub(crate) async fn login(
    settings: &Settings,
    mesh: &Mesh,
    email: String,
    password_stdin: bool,
) -> anyhow::Result<()> {
    let password = read_password(password_stdin)?;
    let tokens = client(mesh)?.login(LoginRequest { email, password }).await?;
    keep(&settings.session, &tokens)
}

/// Ends the session and forgets its tokens.
pub(crate) async fn logout(settings: &Settings, mesh: &Mesh) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read(&settings.session) else { return Ok(()) };
    std::fs::remove_file(&settings.session)
        .with_context(|| format!("{} cannot be removed", settings.session.display()))?;
    let Ok(session) = serde_json::from_slice::<Session>(&text) else { return Ok(()) };
    let request = LogoutRequest { refresh_token: session.refresh_token };
    client(mesh)?.logout(request).await?;
    Ok(())
}

fn client(mesh: &Mesh) -> anyhow::Result<GrpcAuthClient> {
    Ok(GrpcAuthClient::new(mesh.channel(auth::SERVICE)?))
}

fn keep(path: &Path, tokens: &TokenPair) -> anyhow::Result<()> {
    let session = Session {
        access_token: tokens.access_token.clone(),
        refresh_token: tokens.refresh_token.clone(),
        expires_at: chrono::Utc::now().timestamp() + i64::from(tokens.expires_in),
    };
    write(path, &serde_json::to_vec(&session)?)
        .with_context(|| format!("the session cannot be kept in {}", path.display()))
}

/// Whole or not at all: a file half-written would lose the refresh token, which works once.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    std::fs::rename(&new, path)
}

fn read_password(stdin: bool) -> anyhow::Result<String> {
    let input = std::io::stdin();
    let hidden = match !stdin && input.is_terminal() {
        true => {
            crate::output::say("Password:");
            Some(Hidden::begin()?)
        }
        false => None,
    };
    let mut line = String::new();
    input.lock().read_line(&mut line).context("the password cannot be read")?;
    drop(hidden);
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> anyhow::Result<Self> {
        let shown = tcgetattr(std::io::stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self(shown))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
