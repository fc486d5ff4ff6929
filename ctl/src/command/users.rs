//! Users.

use clap::Subcommand;
use mainstay::contract::identity::proto::{GetUserRequest, ListUsersRequest};
use mainstay::contract::identity::{self, GrpcIdentityClient, IdentityClient as _};
use mainstay::kernel::error::Error;

use super::Desk;
use crate::output::{self, Column, Show};

const COLUMNS: [Column; 4] =
    [("ID", "/id"), ("E-MAIL", "/email"), ("NAME", "/display_name"), ("CREATED", "/create_time")];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List users, newest first
    List {
        /// Deleted users too
        #[arg(long)]
        deleted: bool,
        /// The most users
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Show e-mail addresses, names and other personal data
        #[arg(long)]
        reveal: bool,
    },
    /// Show one user, by id or e-mail address
    Show {
        /// Id or e-mail address
        user: String,
        /// Show e-mail address, name and other personal data
        #[arg(long)]
        reveal: bool,
    },
}

pub(crate) async fn run(desk: &Desk, command: Command) -> anyhow::Result<()> {
    let client = GrpcIdentityClient::new(desk.mesh.channel(identity::SERVICE)?);
    let client = client.with_bearer(&desk.token().await?);
    match command {
        Command::List { deleted, limit, reveal } => {
            list(desk, &client, deleted, limit, shown(reveal)).await
        }
        Command::Show { user, reveal } => show(desk, &client, user, shown(reveal)).await,
    }
}

async fn list(
    desk: &Desk,
    client: &GrpcIdentityClient,
    show_deleted: bool,
    limit: usize,
    shown: Show,
) -> anyhow::Result<()> {
    let (mut users, mut page_token) = (Vec::new(), String::new());
    while users.len() < limit {
        let page_size = i32::try_from((limit - users.len()).min(200))?;
        let request =
            ListUsersRequest { page_size, page_token, show_deleted, ..Default::default() };
        let page = client.list_users(request).await?;
        for user in &page.users {
            users.push(output::json(user, shown)?);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    output::list(desk.settings.output, &COLUMNS, &users)
}

async fn show(
    desk: &Desk,
    client: &GrpcIdentityClient,
    user: String,
    shown: Show,
) -> anyhow::Result<()> {
    let found = match user.contains('@') {
        true => {
            let request = ListUsersRequest { email: user.clone(), ..Default::default() };
            let found = client.list_users(request).await?.users.into_iter().next();
            found.ok_or_else(|| Error::not_found("user", user))?
        }
        false => client.get_user(GetUserRequest { user_id: user }).await?,
    };
    output::one(desk.settings.output, &output::json(&found, shown)?)
}

fn shown(reveal: bool) -> Show {
    if reveal { Show::All } else { Show::Redacted }
}
