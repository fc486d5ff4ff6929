//! A service's descriptors to its routes.

use std::sync::{Arc, OnceLock};

use http::Method;
use http::uri::PathAndQuery;
use mainstay::kernel::policy::{Access, EdgeStyle, GATEWAY, MethodPolicy, PolicyTable, Unstated};
use prost_reflect::{DescriptorPool, MethodDescriptor};

use super::rule::{self, HttpRule};
use super::template::Template;
use super::{CanonicalJson, Form, Refusal, Route, Rpc};
use crate::transcode::binding::{Binding, Body, is_http_body};
use crate::transcode::plan::{JsonPlan, Spelling};
use crate::transcode::read::Unknown;
use crate::transcode::render::{MessagePlan, ReplyPlan};
use crate::transcode::request::RequestPlan;

/// How a contract is read.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// By the rules of the house: every method states its policy.
    House,
    /// As one made elsewhere.
    Foreign(Unstated, Unknown),
}

impl Reading {
    fn policies(&self, pool: &DescriptorPool) -> anyhow::Result<PolicyTable> {
        match self {
            // A service is rolled before its gateway: what is new in its contract waits for that.
            Self::House => PolicyTable::compile_sound(pool),
            Self::Foreign(unstated, _) => PolicyTable::compile_foreign(pool, unstated),
        }
    }

    /// What becomes of fields and parameters that a request message does not have.
    fn unknown(&self) -> Unknown {
        match self {
            Self::House => Unknown::Refuse,
            Self::Foreign(_, unknown) => *unknown,
        }
    }

    /// Why a method that states this policy cannot be served: nobody could check it.
    fn refusal(&self, policy: &MethodPolicy) -> Option<&'static str> {
        if policy.access == Access::Internal {
            return Some("it is internal and must have no route");
        }
        let Self::Foreign(unstated, _) = self else { return None };
        match (&policy.access, &unstated.access) {
            (Access::Permission(_), _) => Some("it needs a permission, on which nobody decides"),
            (Access::Authenticated, Access::Public) => {
                Some("it needs a token, and none can be verified without --jwks")
            }
            _ if policy.feature.is_some() => Some("it needs a plan, of which nobody knows"),
            _ => None,
        }
    }
}

/// What a service offers at the edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiled {
    /// What of it the gateway may call.
    pub(crate) rpcs: Vec<Arc<Rpc>>,
    /// Its routes.
    pub(crate) routes: Vec<Arc<Route>>,
    /// What of it cannot be routed.
    pub(crate) refusals: Vec<Refusal>,
}

/// Compiles the RPCs and routes of those gRPC services that `service` serves. One method that cannot be
/// routed does not keep the others from it.
pub(crate) fn compile(
    service: &str,
    pool: &DescriptorPool,
    grpc_services: &[String],
    reading: &Reading,
) -> Compiled {
    match reading.policies(pool) {
        Ok(policies) => compile_with(service, pool, grpc_services, reading, &policies),
        Err(fault) => {
            let mut compiled = Compiled::default();
            compiled.refuse(service, "*", format!("its policies cannot be read: {fault:#}"));
            compiled
        }
    }
}

/// As [`compile`], with policies that are known.
pub(super) fn compile_with(
    service: &str,
    pool: &DescriptorPool,
    grpc_services: &[String],
    reading: &Reading,
    policies: &PolicyTable,
) -> Compiled {
    let mut compiled = Compiled::default();
    let mut methods = Vec::new();
    for name in grpc_services {
        match pool.get_service_by_name(name) {
            Some(grpc_service) => methods.extend(grpc_service.methods()),
            None => compiled.refuse(service, name, "it is advertised and not described".into()),
        }
    }
    let messages = Messages::compile(&methods);
    for method in &methods {
        compiled.add_method(service, method, reading, policies, &messages);
    }
    compiled
}

/// The messages of a service's methods, both ways, in either spelling.
struct Messages {
    contract: Arc<JsonPlan>,
    canonical: Arc<JsonPlan>,
}

impl Messages {
    fn compile(methods: &[MethodDescriptor]) -> Self {
        let all = || methods.iter().flat_map(|method| [method.input(), method.output()]);
        Self {
            contract: Arc::new(JsonPlan::compile(all(), Spelling::Contract)),
            canonical: Arc::new(JsonPlan::compile(all(), Spelling::Canonical)),
        }
    }

    fn of(&self, style: EdgeStyle) -> Arc<JsonPlan> {
        match Spelling::of(style) {
            Spelling::Contract => Arc::clone(&self.contract),
            Spelling::Canonical => Arc::clone(&self.canonical),
        }
    }
}

impl Compiled {
    fn refuse(&mut self, service: &str, method: &str, reason: String) {
        let (service, method) = (service.to_owned(), method.to_owned());
        self.refusals.push(Refusal { service, method, reason });
    }

    fn add_method(
        &mut self,
        service: &str,
        method: &MethodDescriptor,
        reading: &Reading,
        policies: &PolicyTable,
        messages: &Messages,
    ) {
        let rules = match rule::rules(method) {
            Ok(rules) => rules,
            Err(reason) => return self.refuse(service, method.full_name(), reason),
        };
        let rpc = match rpc(service, method, reading, policies, messages) {
            Ok(rpc) => Arc::new(rpc),
            // What has no route is simply not for the gateway.
            Err(_) if rules.is_empty() => return,
            Err(reason) => return self.refuse(service, method.full_name(), reason),
        };
        for rule in rules {
            match route(&rpc, &rule, reading, messages) {
                Ok(route) => self.routes.push(Arc::new(route)),
                Err(reason) => self.refuse(service, method.full_name(), reason),
            }
        }
        self.rpcs.push(rpc);
    }
}

fn rpc(
    service: &str,
    method: &MethodDescriptor,
    reading: &Reading,
    policies: &PolicyTable,
    messages: &Messages,
) -> Result<Rpc, String> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let Some(policy) = policies.method(&path).cloned() else {
        let why = policies.why_unsound(&path).unwrap_or("it is not in the contract");
        return Err(format!("its policy is not sound: {why}"));
    };
    if let Some(reason) = reading.refusal(&policy) {
        return Err(reason.into());
    }
    if matches!(reading, Reading::House) && !policy.callers.allow(GATEWAY, policy.routed) {
        return Err("its callers do not name the gateway".into());
    }
    Ok(Rpc {
        service: service.to_owned(),
        grpc_path: PathAndQuery::try_from(path).map_err(|fault| fault.to_string())?,
        json: canonical_json(messages, method),
        policy,
        descriptor: method.clone(),
        series: OnceLock::new(),
    })
}

fn canonical_json(messages: &Messages, method: &MethodDescriptor) -> Option<CanonicalJson> {
    let (table, input) = (&messages.canonical, method.input());
    let request = RequestPlan::new(Arc::clone(table), input.full_name(), Unknown::Refuse).ok()?;
    Some(CanonicalJson { request, reply: MessagePlan::new(table, &method.output())? })
}

fn route(
    rpc: &Arc<Rpc>,
    rule: &HttpRule,
    reading: &Reading,
    messages: &Messages,
) -> Result<Route, String> {
    let template = Template::parse(&rule.path).map_err(|why| format!("`{}`: {why}", rule.path))?;
    let mut rule = rule.clone();
    if is_upload_of_bytes(rpc) && rule.body.is_empty() {
        // An upload is its body, whether its rule says so or not.
        rule.body = "*".to_owned();
    }
    let (table, unknown) = (messages.of(rpc.policy.style), reading.unknown());
    let mut binding =
        Binding::compile(&rpc.descriptor, &rule, &template, Arc::clone(&table), unknown)?;
    if rpc.policy.is_streaming() {
        binding.list = None; // a stream has no pages
    }
    let form = form(&rpc.policy, &binding);
    // A WebSocket begins with a GET (RFC 6455, section 4.1), whatever the rule says.
    let method = if form == Form::Socket { Method::GET } else { rule.method };
    let reply = ReplyPlan::new(table, &binding)?;
    let series = OnceLock::new();
    Ok(Route { rpc: Arc::clone(rpc), method, template, form, binding, reply, series })
}

fn is_upload_of_bytes(rpc: &Rpc) -> bool {
    let policy = &rpc.policy;
    policy.client_streaming && !policy.server_streaming && is_http_body(&rpc.descriptor.input())
}

fn form(policy: &MethodPolicy, binding: &Binding) -> Form {
    match (policy.client_streaming, policy.server_streaming) {
        (false, false) => Form::Unary,
        (false, true) => Form::Stream,
        (true, false) if matches!(binding.body, Body::Raw | Body::RawField(_)) => Form::Upload,
        (true, _) => Form::Socket,
    }
}
