//! The contract's policy, read from descriptors once and compiled to a flat struct per method.
//!
//! This is the one piece of code that interprets a policy: the gateway and every server call it,
//! so that the edge and the service cannot differ. [`PolicyTable::compile`] refuses contracts that
//! state no sound policy ([`check`] holds the rules, which `build.rs` shares); after that no
//! descriptor is walked while a call is served: resources, owners and validation rules are read
//! straight from the wire bytes of the request.

mod authorize;
pub mod check;
mod compile;
mod decisions;
mod entitle;
mod events;
mod field;
mod options;
mod redact;
mod rules;
mod stream;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use prost_reflect::MessageDescriptor;

use crate::kernel::error::Result;

pub use authorize::{ANONYMOUS, Authorizer, Callers, GATEWAY, OPERATOR};
pub use compile::Unstated;
pub use decisions::{Decision, DecisionSource, Decisions};
pub use entitle::{Entitlements, Plan};
pub use events::{EventCatalog, EventDeclaration, TopicSpec};
pub use field::{FieldPath, ResourceTemplate};
pub(crate) use redact::is_personal;
pub use redact::{Redactor, redacted};
pub use rules::MessageRules;
pub use stream::{Resumption, StreamRules};

/// The policies of all methods of a descriptor pool.
#[derive(Clone, Debug, Default)]
pub struct PolicyTable {
    methods: BTreeMap<String, Arc<MethodPolicy>>,
    unsound: BTreeMap<String, String>,
}

impl PolicyTable {
    /// The policy of a method by its path, such as `/mainstay.identity.v1.UserService/GetUser`.
    /// A method that is not in the table is to be refused.
    pub fn method(&self, path: &str) -> Option<&Arc<MethodPolicy>> {
        self.methods.get(path)
    }

    /// Why a method by its path is not in the table of [`compile_sound`](Self::compile_sound); `None`
    /// where it is in it, or in none of its contracts.
    pub fn why_unsound(&self, path: &str) -> Option<&str> {
        self.unsound.get(path).map(String::as_str)
    }

    /// All policies, by path.
    pub fn methods(&self) -> impl Iterator<Item = &Arc<MethodPolicy>> {
        self.methods.values()
    }

    /// The permissions that the methods state, each once, by name.
    pub fn permissions(&self) -> BTreeSet<&str> {
        self.methods().filter_map(|method| method.access.permission()).collect()
    }
}

/// What the contract states about one method, with the service's defaults filled in.
#[derive(Clone, Debug)]
pub struct MethodPolicy {
    /// Path on the wire, such as `/mainstay.identity.v1.UserService/GetUser`.
    pub path: String,
    /// Name in audit records and messages, such as `mainstay.identity.v1.UserService/GetUser`.
    pub full_name: String,
    /// Who may call.
    pub access: Access,
    /// What the permission is checked on and audit records name; `None` is everything.
    pub resource: Option<ResourceTemplate>,
    /// The request field that names the user who needs no permission.
    pub owner: Option<FieldPath>,
    /// The entitlement that the caller's plan must include.
    pub feature: Option<String>,
    /// The rate class, a row of the gateway's table.
    pub rate_class: Option<String>,
    /// What one call costs in tokens of its rate class.
    pub rate_cost: u32,
    /// The longest a call may take.
    pub deadline: Duration,
    /// The largest request in bytes.
    pub max_body_bytes: usize,
    /// Which members of the mesh may call.
    pub callers: Callers,
    /// Whether calls are recorded.
    pub audit: Audit,
    /// The shape of replies on the REST edge.
    pub style: EdgeStyle,
    /// HTTP request headers that the gateway hands on as metadata.
    pub request_headers: Vec<HeaderName>,
    /// Metadata of the reply that the gateway hands to the caller.
    pub response_headers: Vec<HeaderName>,
    /// How a stream of replies is taken up again; `None` where it cannot be.
    pub resumption: Option<Resumption>,
    /// How long replies may be reused; `None` where the contract does not say.
    pub cache: Option<CacheRule>,
    /// Whether replies can hold a field that the contract marks as a secret.
    pub secret_reply: bool,
    /// What may be repeated.
    pub idempotency: Idempotency,
    /// Whether the method has a route on the REST edge.
    pub routed: bool,
    /// Whether the client sends a stream of messages instead of one.
    pub client_streaming: bool,
    /// Whether the server answers with a stream of messages instead of one.
    pub server_streaming: bool,
    /// The rules of the request's fields.
    pub validation: Arc<MessageRules>,
    input: MessageDescriptor,
    redactor: Redactor,
}

impl MethodPolicy {
    /// Checks the request's fields against the rules of the contract. `INVALID_ARGUMENT` names
    /// every field at fault.
    pub fn validate(&self, message: &[u8]) -> Result<()> {
        self.validation.validate(message)
    }

    /// The resource that a request is about, such as `users/0190…`; empty is everything. A request
    /// that cannot be read has none.
    pub fn resource_of(&self, message: &[u8]) -> String {
        let resource = self.resource.as_ref().and_then(|template| template.render(message).ok());
        resource.unwrap_or_default()
    }

    /// The request as JSON with personal data and secrets redacted, for audit records.
    pub fn redacted_json(&self, message: &[u8]) -> serde_json::Value {
        self.redactor.json(&self.input, message)
    }

    /// The type of the request.
    pub fn input(&self) -> &MessageDescriptor {
        &self.input
    }
}

/// Who may call a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without credentials.
    Public,
    /// Any user.
    Authenticated,
    /// Users and services that hold the permission.
    Permission(String),
    /// The services that `callers` names.
    Internal,
    /// Third parties that sign the body; the service verifies the signature.
    Webhook,
}

impl Access {
    /// The permission, where access is by permission.
    pub fn permission(&self) -> Option<&str> {
        match self {
            Self::Permission(permission) => Some(permission),
            _ => None,
        }
    }
}

/// Whether calls of a method are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// Never.
    None,
    /// Actor, action, resource and outcome.
    Call,
    /// As `Call`, with the request redacted.
    Request,
}

/// The shape of replies on the REST edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeStyle {
    /// `{"data": …, "meta": …}`
    Envelope,
    /// The message as it is.
    Plain,
}

/// How long replies of a method may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// For how long a reply counts as current, in whole seconds.
    pub max_age: Duration,
    /// Whether caches that many people share may keep replies.
    pub shared: bool,
}

/// What the standard option `idempotency_level` says of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing: a call may be repeated only if it certainly did not run.
    Unknown,
    /// It changes nothing.
    NoSideEffects,
    /// Running it twice is as running it once.
    Idempotent,
}

impl Idempotency {
    /// Whether a call may be repeated although it may have run.
    pub fn is_repeatable(self) -> bool {
        self != Self::Unknown
    }
}
