//! Roles, and who has them.

use clap::Subcommand;
use mainstay::contract::authz::proto::{
    CreateRoleBindingRequest, DeleteRoleBindingRequest, GetRoleRequest, ListRoleBindingsRequest,
    ListRolesRequest,
};
use mainstay::contract::authz::{self, AuthzClient as _, GrpcAuthzClient};

use super::{Desk, confirm};
use crate::output::{self, Column, Show};

const ROLES: [Column; 4] = [
    ("NAME", "/name"),
    ("PERMISSIONS", "/permissions"),
    ("DESCRIPTION", "/description"),
    ("ID", "/id"),
];

const BINDINGS: [Column; 5] = [
    ("ID", "/id"),
    ("ROLE", "/role_name"),
    ("SUBJECT", "/subject"),
    ("RESOURCE", "/resource"),
    ("CREATED", "/create_time"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List roles, by name
    List,
    /// Show one role
    Show {
        /// Id or name of the role
        role: String,
    },
    /// List who has which role, newest first
    Bindings {
        /// Only of this subject: `user:<id>` or `service:<name>`
        #[arg(long)]
        subject: Option<String>,
        /// Only of this role, by id or name
        #[arg(long)]
        role: Option<String>,
    },
    /// Give a role
    Grant {
        /// Id or name of the role
        role: String,
        /// Who gets it: `user:<id>` or `service:<name>`
        subject: String,
        /// The one resource it shall hold on, `<kind>/<id>`; everywhere when not stated
        #[arg(long)]
        resource: Option<String>,
    },
    /// Take a role
    Revoke {
        /// Id of the binding
        binding: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(crate) async fn run(desk: &Desk, command: Command) -> anyhow::Result<()> {
    let client = GrpcAuthzClient::new(desk.mesh.channel(authz::SERVICE)?);
    let client = client.with_bearer(&desk.token().await?);
    let form = desk.settings.output;
    match command {
        Command::List => list(desk, &client).await,
        Command::Show { role } => {
            let role = client.get_role(GetRoleRequest { role_id: role }).await?;
            output::one(form, &output::json(&role, Show::All)?)
        }
        Command::Bindings { subject, role } => bindings(desk, &client, subject, role).await,
        Command::Grant { role, subject, resource } => {
            let resource = resource.unwrap_or_default();
            let request = CreateRoleBindingRequest { role_id: role, subject, resource };
            let binding = client.create_role_binding(request).await?;
            output::one(form, &output::json(&binding, Show::All)?)
        }
        Command::Revoke { binding, yes } => {
            confirm(yes, &format!("take the role of binding {binding}"))?;
            client.delete_role_binding(DeleteRoleBindingRequest { binding_id: binding }).await?;
            Ok(())
        }
    }
}

async fn list(desk: &Desk, client: &GrpcAuthzClient) -> anyhow::Result<()> {
    let (mut roles, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = client.list_roles(ListRolesRequest { page_size: 200, page_token }).await?;
        for role in &page.roles {
            roles.push(output::json(role, Show::All)?);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output::list(desk.settings.output, &ROLES, &roles);
        }
    }
}

async fn bindings(
    desk: &Desk,
    client: &GrpcAuthzClient,
    subject: Option<String>,
    role: Option<String>,
) -> anyhow::Result<()> {
    let (subject, role_id) = (subject.unwrap_or_default(), role.unwrap_or_default());
    let (mut bindings, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRoleBindingsRequest {
            page_size: 200,
            page_token,
            subject: subject.clone(),
            role_id: role_id.clone(),
        };
        let page = client.list_role_bindings(request).await?;
        for binding in &page.role_bindings {
            bindings.push(output::json(binding, Show::All)?);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output::list(desk.settings.output, &BINDINGS, &bindings);
        }
    }
}
