//! Logs in and asks identity who that is, through the client traits, as an internal team would.
//!
//! While `cargo xtask up` runs: `cargo run --example whoami [E-MAIL PASSWORD]`; without arguments as
//! the administrator. `MAINSTAY_HOME` names another state folder than `.mainstay`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mainstay::contract::auth::{self, AuthClient as _, GrpcAuthClient, proto::LoginRequest};
use mainstay::contract::identity::{self, GrpcIdentityClient, IdentityClient as _};
use mainstay::kernel::lifecycle::MeshClient;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let home = PathBuf::from(std::env::var_os("MAINSTAY_HOME").unwrap_or(".mainstay".into()));
    let mesh = MeshClient::open(&home, "developer", mainstay::contract::pool())?;

    let auth = GrpcAuthClient::new(mesh.channel(auth::SERVICE)?);
    let tokens = auth.login(credentials(&home)?).await?;

    let identity = GrpcIdentityClient::new(mesh.channel(identity::SERVICE)?);
    let identity = identity.with_bearer(&tokens.access_token);
    let me = identity.get_me(identity::proto::GetMeRequest {}).await?;
    println!("{} <{}>, id {}", me.display_name, me.email, me.id);
    Ok(())
}

fn credentials(home: &Path) -> anyhow::Result<LoginRequest> {
    if let [email, password] = std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        return Ok(LoginRequest { email: email.clone(), password: password.clone() });
    }
    let file = std::fs::read(home.join("admin.json")).context("no admin.json: name a user")?;
    let admin: serde_json::Value = serde_json::from_slice(&file)?;
    let text = |key: &str| admin[key].as_str().unwrap_or_default().to_owned();
    Ok(LoginRequest { email: text("email"), password: text("password") })
}
