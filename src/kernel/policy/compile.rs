//! From options to flat policies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{DescriptorPool, MethodDescriptor};

use super::field::{FieldPath, ResourceTemplate};
use super::rules::MessageRules;
use super::{
    Access, Audit, Callers, EdgeStyle, Idempotency, MethodPolicy, PolicyTable, Redactor, check,
    options,
};
use crate::kernel::proto::policy as stated;

/// The deadline of services that state none.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// The body limit of services that state none: 1 MiB.
const DEFAULT_MAX_BODY_BYTES: u32 = 1024 * 1024;

impl PolicyTable {
    /// Compiles the policies of every method in the pool, save those of gRPC itself. Refuses
    /// contracts whose policy is missing or wrong, naming each fault.
    pub fn compile(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let faults = check::check_policies(pool);
        if !faults.is_empty() {
            bail!("the contracts state no sound policy:\n{}", faults.join("\n"));
        }
        let compiler = Compiler { pool, redactor: Redactor::compile(pool)? };
        let mut methods = BTreeMap::new();
        for service in pool.services().filter(check::is_governed) {
            let defaults: stated::ServicePolicy =
                options::read(pool, &service.options(), options::SERVICE)?.unwrap_or_default();
            for method in service.methods() {
                let policy = compiler
                    .method(&method, &defaults)
                    .with_context(|| method.full_name().to_owned())?;
                methods.insert(policy.path.clone(), Arc::new(policy));
            }
        }
        Ok(Self { methods })
    }
}

struct Compiler<'a> {
    pool: &'a DescriptorPool,
    redactor: Redactor,
}

impl Compiler<'_> {
    fn method(
        &self,
        method: &MethodDescriptor,
        service: &stated::ServicePolicy,
    ) -> anyhow::Result<MethodPolicy> {
        let declared = method.options();
        let policy: stated::MethodPolicy =
            options::read(self.pool, &declared, options::METHOD)?.context("no policy")?;
        let input = method.input();
        let full_name = format!("{}/{}", method.parent_service().full_name(), method.name());
        Ok(MethodPolicy {
            path: format!("/{full_name}"),
            full_name,
            access: access(&policy)?,
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
            deadline: deadline(policy.deadline.or(service.deadline))?,
            max_body_bytes: body_limit(policy.max_body_bytes, service.max_body_bytes),
            audit: audit(policy.audit()),
            style: style(policy.style(), service.style()),
            request_headers: policy
                .request_headers
                .iter()
                .map(|name| Ok(name.parse()?))
                .collect::<anyhow::Result<_>>()?,
            idempotency: idempotency(method),
            routed: options::has(self.pool, &declared, options::HTTP),
            client_streaming: method.is_client_streaming(),
            server_streaming: method.is_server_streaming(),
            validation: Arc::new(MessageRules::compile(&input)?),
            callers: Callers::new(policy.callers),
            input,
            redactor: self.redactor.clone(),
        })
    }
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

fn deadline(stated: Option<prost_types::Duration>) -> anyhow::Result<Duration> {
    match stated {
        Some(deadline) => Duration::try_from(deadline).context("the deadline is negative"),
        None => Ok(DEFAULT_DEADLINE),
    }
}

fn body_limit(method: u32, service: u32) -> usize {
    let stated = [method, service].into_iter().find(|limit| *limit > 0);
    stated.unwrap_or(DEFAULT_MAX_BODY_BYTES) as usize
}

fn audit(stated: stated::Audit) -> Audit {
    match stated {
        stated::Audit::Unspecified | stated::Audit::None => Audit::None,
        stated::Audit::Call => Audit::Call,
        stated::Audit::Request => Audit::Request,
    }
}

fn style(method: stated::EdgeStyle, service: stated::EdgeStyle) -> EdgeStyle {
    let stated =
        [method, service].into_iter().find(|style| *style != stated::EdgeStyle::Unspecified);
    match stated {
        Some(stated::EdgeStyle::Plain) => EdgeStyle::Plain,
        _ => EdgeStyle::Envelope,
    }
}

fn idempotency(method: &MethodDescriptor) -> Idempotency {
    let declared = method.method_descriptor_proto().options.as_ref();
    match declared.map(|options| options.idempotency_level()) {
        Some(IdempotencyLevel::NoSideEffects) => Idempotency::NoSideEffects,
        Some(IdempotencyLevel::Idempotent) => Idempotency::Idempotent,
        _ => Idempotency::Unknown,
    }
}
