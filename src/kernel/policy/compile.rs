//! From options to flat policies.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::HeaderName;
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use super::field::{FieldPath, ResourceTemplate};
use super::rules::MessageRules;
use super::{
    Access, Audit, CacheRule, Callers, EdgeStyle, Idempotency, MethodPolicy, PolicyTable, Redactor,
    Resumption, check, options, redact,
};
use crate::kernel::proto::policy as stated;

/// The deadline of services that state none.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// The body limit of services that state none: 1 MiB.
const DEFAULT_MAX_BODY_BYTES: usize = 1024 * 1024;

impl PolicyTable {
    /// Compiles the policies of every method in the pool, save those of gRPC itself. Refuses
    /// contracts whose policy is missing or wrong, naming each fault.
    pub fn compile(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let faults = check::check_policies(pool);
        if !faults.is_empty() {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            bail!("the contracts state no sound policy:\n{}", faults.join("\n"));
        }
        let redactor = Redactor::compile(pool)?;
        Compiler { pool, redactor, unstated: None }
            .table(pool.services().filter(check::is_governed))
    }

    /// Compiles the policies of contracts that may be newer than this program: a method whose policy
    /// is missing, wrong or of a kind not known here is left out of the table, which then tells
    /// [why](Self::why_unsound), and the others hold.
    ///
    /// # Errors
    ///
    /// When options of fields cannot be read, so that no method's secrets were known.
    pub fn compile_sound(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let faults = check::check_policies(pool);
        let compiler = Compiler { pool, redactor: Redactor::compile(pool)?, unstated: None };
        let mut table = Self::default();
        for service in pool.services().filter(check::is_governed) {
            for method in service.methods() {
                let compiled = match fault_of(&method, &faults) {
                    Some(fault) => Err(fault.to_string()),
                    None => compiler.stated(&method).map_err(|fault| format!("{fault:#}")),
                };
                match compiled {
                    Ok(policy) => table.insert(policy),
                    Err(fault) => drop(table.unsound.insert(path(&method), fault)),
                }
            }
        }
        Ok(table)
    }

    /// Compiles the policies of contracts made elsewhere: where a method states none, `unstated`
    /// holds, and rules of fields that are not understood are left to the server.
    ///
    /// # Errors
    ///
    /// When a policy that is stated is not sound.
    pub fn compile_foreign(pool: &DescriptorPool, unstated: &Unstated) -> anyhow::Result<Self> {
        let redactor = Redactor::compile(pool)?;
        Compiler { pool, redactor, unstated: Some(unstated) }.table(pool.services())
    }
}

/// What holds for the methods of a contract made elsewhere.
#[derive(Clone, Debug)]
pub struct Unstated {
    /// Who may call a method that states no access.
    pub access: Access,
    /// The shape of replies where none is stated.
    pub style: EdgeStyle,
    /// The longest a call may take where none is stated.
    pub deadline: Duration,
    /// The largest request in bytes where none is stated.
    pub max_body_bytes: usize,
    /// HTTP request headers that every method is handed.
    pub request_headers: Vec<HeaderName>,
}

struct Compiler<'a> {
    pool: &'a DescriptorPool,
    redactor: Redactor,
    /// `None` where every method must state a policy.
    unstated: Option<&'a Unstated>,
}

impl Compiler<'_> {
    fn table(
        &self,
        services: impl Iterator<Item = ServiceDescriptor>,
    ) -> anyhow::Result<PolicyTable> {
        let mut table = PolicyTable::default();
        for method in services.flat_map(|service| Vec::from_iter(service.methods())) {
            table.insert(self.stated(&method)?);
        }
        Ok(table)
    }

    fn stated(&self, method: &MethodDescriptor) -> anyhow::Result<MethodPolicy> {
        let service = method.parent_service();
        let defaults: Option<stated::ServicePolicy> =
            options::read(self.pool, &service.options(), options::SERVICE)?;
        self.method(method, &defaults.unwrap_or_default())
            .with_context(|| method.full_name().to_owned())
    }

    fn method(
        &self,
        method: &MethodDescriptor,
        service: &stated::ServicePolicy,
    ) -> anyhow::Result<MethodPolicy> {
        let declared = method.options();
        let policy: Option<stated::MethodPolicy> =
            options::read(self.pool, &declared, options::METHOD)?;
        let policy = match self.unstated {
            Some(_) => policy.unwrap_or_default(),
            None => policy.context("no policy")?,
        };
        let input = method.input();
        let path = path(method);
        Ok(MethodPolicy {
            full_name: path[1..].to_owned(),
            path,
            access: match (&policy.access, self.unstated) {
                (None, Some(unstated)) => unstated.access.clone(),
                _ => access(&policy)?,
            },
            resource: stated(&policy.resource)
                .map(|template| ResourceTemplate::resolve(&input, template))
                .transpose()?,
            owner: stated(&policy.owner)
                .map(|path| FieldPath::resolve(&input, path))
                .transpose()?,
            feature: stated(&policy.feature).map(str::to_owned),
            rate_class: stated(&policy.rate_class)
                .or(stated(&service.rate_class))
                .map(str::to_owned),
            rate_cost: policy.rate_cost.max(1),
            deadline: deadline(policy.deadline.or(service.deadline))?
                .or(self.unstated.map(|unstated| unstated.deadline))
                .unwrap_or(DEFAULT_DEADLINE),
            max_body_bytes: body_limit(policy.max_body_bytes, service.max_body_bytes)
                .or(self.unstated.map(|unstated| unstated.max_body_bytes))
                .unwrap_or(DEFAULT_MAX_BODY_BYTES),
            audit: audit(policy.audit()),
            style: style(policy.style(), service.style())
                .or(self.unstated.map(|unstated| unstated.style))
                .unwrap_or(EdgeStyle::Envelope),
            request_headers: self.request_headers(&policy)?,
            response_headers: headers(&policy.response_headers)?,
            resumption: policy
                .stream
                .as_ref()
                .map(|stated| Resumption::resolve(method, stated))
                .transpose()?,
            cache: cache_rule(policy.cache)?,
            secret_reply: redact::holds_secret(self.pool, &method.output())?,
            idempotency: idempotency(method),
            routed: options::has(self.pool, &declared, options::HTTP),
            client_streaming: method.is_client_streaming(),
            server_streaming: method.is_server_streaming(),
            validation: Arc::new(match self.unstated {
                Some(_) => MessageRules::compile_leniently(&input)?,
                None => MessageRules::compile(&input)?,
            }),
            callers: Callers::new(policy.callers),
            input,
            redactor: self.redactor.clone(),
        })
    }
}

impl Compiler<'_> {
    fn request_headers(&self, policy: &stated::MethodPolicy) -> anyhow::Result<Vec<HeaderName>> {
        let all = self.unstated.map(|unstated| unstated.request_headers.clone());
        let own = headers(&policy.request_headers)?;
        Ok(all.unwrap_or_default().into_iter().chain(own).collect())
    }
}

impl PolicyTable {
    fn insert(&mut self, policy: MethodPolicy) {
        self.methods.insert(policy.path.clone(), Arc::new(policy));
    }
}

/// On the wire.
fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// The first fault of a method, of its service, or of what its requests may hold.
fn fault_of<'a>(method: &MethodDescriptor, faults: &'a [check::Fault]) -> Option<&'a check::Fault> {
    if faults.is_empty() {
        return None;
    }
    let mut names = HashSet::from([
        method.full_name().to_owned(),
        method.parent_service().full_name().to_owned(),
    ]);
    let mut found = vec![method.input()];
    while let Some(message) = found.pop() {
        if names.insert(message.full_name().to_owned()) {
            found.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
            names.extend(message.fields().map(|field| field.full_name().to_owned()));
            names.extend(message.oneofs().map(|oneof| oneof.full_name().to_owned()));
        }
    }
    faults.iter().find(|fault| names.contains(&fault.name))
}

fn headers(names: &[String]) -> anyhow::Result<Vec<HeaderName>> {
    names.iter().map(|name| Ok(name.parse()?)).collect()
}

fn stated(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn access(policy: &stated::MethodPolicy) -> anyhow::Result<Access> {
    use stated::method_policy::Access as Stated;
    match &policy.access {
        Some(Stated::Public(true)) => Ok(Access::Public),
        Some(Stated::Authenticated(true)) => Ok(Access::Authenticated),
        Some(Stated::Permission(name)) => Ok(Access::Permission(name.clone())),
        Some(Stated::Internal(true)) => Ok(Access::Internal),
        Some(Stated::Webhook(true)) => Ok(Access::Webhook),
        _ => bail!("no access is stated"),
    }
}

fn deadline(stated: Option<prost_types::Duration>) -> anyhow::Result<Option<Duration>> {
    stated.map(Duration::try_from).transpose().context("the deadline is negative")
}

fn body_limit(method: u32, service: u32) -> Option<usize> {
    [method, service].into_iter().find(|limit| *limit > 0).map(|limit| limit as usize)
}

fn audit(stated: stated::Audit) -> Audit {
    match stated {
        stated::Audit::Unspecified | stated::Audit::None => Audit::None,
        stated::Audit::Call => Audit::Call,
        stated::Audit::Request => Audit::Request,
    }
}

fn style(method: stated::EdgeStyle, service: stated::EdgeStyle) -> Option<EdgeStyle> {
    let stated =
        [method, service].into_iter().find(|style| *style != stated::EdgeStyle::Unspecified);
    stated.map(|style| match style {
        stated::EdgeStyle::Plain => EdgeStyle::Plain,
        _ => EdgeStyle::Envelope,
    })
}

fn cache_rule(stated: Option<stated::CachePolicy>) -> anyhow::Result<Option<CacheRule>> {
    let Some(stated) = stated else { return Ok(None) };
    let max_age = stated.max_age.context("the cache policy states no max_age")?;
    let max_age = Duration::try_from(max_age).context("max_age is negative")?;
    Ok(Some(CacheRule { max_age, shared: stated.shared }))
}

fn idempotency(method: &MethodDescriptor) -> Idempotency {
    let declared = method.method_descriptor_proto().options.as_ref();
    match declared.map(|options| options.idempotency_level()) {
        Some(IdempotencyLevel::NoSideEffects) => Idempotency::NoSideEffects,
        Some(IdempotencyLevel::Idempotent) => Idempotency::Idempotent,
        _ => Idempotency::Unknown,
    }
}
