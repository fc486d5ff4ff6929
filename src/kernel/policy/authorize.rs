//! Whether a call may be made.

use async_trait::async_trait;

use super::{Access, MethodPolicy};
use crate::kernel::call::Call;
use crate::kernel::error::{Error, PERMISSION_DENIED, Result};

/// The mesh identity of the gateway.
pub const GATEWAY: &str = "gateway";

/// The mesh identity of operators: people and their tools. It may call what contracts name it for,
/// and speaks for a user only by the user's access token.
pub const OPERATOR: &str = "operator";

/// The peer of a connection that proves no identity.
pub const ANONYMOUS: &str = "anonymous";

/// Decides permissions.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// Whether `subject` (`user:<id>` or `service:<name>`) holds `permission` on `resource`; an
    /// empty resource is everything. An error means that it is not known.
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool>;
}

/// The members of the mesh that may call a method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    everyone: bool,
    named: Vec<String>,
}

impl Callers {
    /// From the names of the contract; `*` is every member of the mesh.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let (everyone, named): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name == "*");
        Self { everyone: !everyone.is_empty(), named }
    }

    /// Whether a peer may call: it is named, or it is the gateway and the method is routed.
    pub fn allow(&self, peer: &str, routed: bool) -> bool {
        (routed && peer == GATEWAY) || self.names(peer)
    }

    /// Whether the contract names a service itself, not by `*`. Only such a peer is believed when it
    /// says for which user it calls; an operator never is.
    pub fn name_explicitly(&self, peer: &str) -> bool {
        peer != OPERATOR && is_member(peer) && self.named.iter().any(|name| name == peer)
    }

    /// Whether the contract names a peer, be it by `*`.
    pub fn names(&self, peer: &str) -> bool {
        is_member(peer) && (self.everyone || self.named.iter().any(|name| name == peer))
    }
}

impl MethodPolicy {
    /// Whether `call` may be made with a request of these wire bytes: `UNAUTHENTICATED` where a
    /// user is needed, `PERMISSION_DENIED` where it is not allowed, `UNAVAILABLE` where that cannot
    /// be known. Whether the peer may call at all is [`Callers::allow`]'s question, before this one.
    pub async fn authorize(
        &self,
        call: &Call,
        message: &[u8],
        authorizer: Option<&dyn Authorizer>,
    ) -> Result<()> {
        match &self.access {
            Access::Public | Access::Webhook => Ok(()),
            Access::Authenticated => call.require_user().map(drop),
            Access::Permission(permission) => {
                self.authorize_permission(permission, call, message, authorizer).await
            }
            Access::Internal if self.callers.names(&call.peer) => Ok(()),
            Access::Internal => Err(Error::new(
                PERMISSION_DENIED,
                format!("{} is for services that its contract names", self.full_name),
            )),
        }
    }

    async fn authorize_permission(
        &self,
        permission: &str,
        call: &Call,
        message: &[u8],
        authorizer: Option<&dyn Authorizer>,
    ) -> Result<()> {
        let subject = subject(call)?;
        if self.is_owner(call, message)? {
            return Ok(());
        }
        let resource = match &self.resource {
            Some(template) => template.render(message)?,
            None => String::new(),
        };
        let authorizer = authorizer.ok_or_else(|| {
            Error::internal(anyhow::anyhow!("{} needs an authorizer", self.full_name))
        })?;
        match authorizer.check(&subject, permission, &resource).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(Error::new(PERMISSION_DENIED, format!("the permission {permission} is needed"))
                    .detail("permission", permission))
            }
            Err(error) => {
                Err(Error::unavailable("permissions cannot be checked at the moment")
                    .because(error))
            }
        }
    }

    fn is_owner(&self, call: &Call, message: &[u8]) -> Result<bool> {
        let (Some(owner), Some(user)) = (&self.owner, &call.user) else { return Ok(false) };
        Ok(owner.read(message)?.is_some_and(|id| !id.is_empty() && id == user.id))
    }
}

/// Who asks: the user, else the service that calls for itself. The gateway never does, nor does
/// anyone outside the mesh, so that no user means no credentials.
fn subject(call: &Call) -> Result<String> {
    match &call.user {
        None if is_service(&call.peer) => Ok(format!("service:{}", call.peer)),
        _ => call.require_user().map(|user| format!("user:{}", user.id)),
    }
}

/// Whether a peer is a member of the mesh that may call for itself, which the gateway never does.
pub(super) fn is_service(peer: &str) -> bool {
    peer != GATEWAY && is_member(peer)
}

/// Whether a peer has the form of a mesh identity, which addresses have not.
fn is_member(peer: &str) -> bool {
    peer != ANONYMOUS
        && peer.starts_with(|first: char| first.is_ascii_lowercase())
        && peer.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
