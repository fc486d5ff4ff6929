//! A service's descriptors to its routes.

use std::sync::Arc;

use http::uri::PathAndQuery;
use mainstay::kernel::policy::{Access, EdgeStyle, PolicyTable};
use prost_reflect::{DescriptorPool, MethodDescriptor};

use super::rule::{self, HttpRule};
use super::template::Template;
use super::{Refusal, Route};
use crate::transcode::binding::Binding;
use crate::transcode::render::{JsonPlan, ReplyPlan, Spelling};

/// What a service offers on the REST edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiled {
    /// Its routes.
    pub(crate) routes: Vec<Arc<Route>>,
    /// What of it cannot be routed.
    pub(crate) refusals: Vec<Refusal>,
}

/// Compiles the routes of those gRPC services that `service` serves. One method that cannot be
/// routed does not keep the others from it.
pub(crate) fn compile(service: &str, pool: &DescriptorPool, grpc_services: &[String]) -> Compiled {
    let mut compiled = Compiled::default();
    let policies = match PolicyTable::compile(pool) {
        Ok(policies) => policies,
        Err(fault) => {
            compiled.refuse(service, "*", format!("its policies are not sound: {fault:#}"));
            return compiled;
        }
    };
    let mut methods = Vec::new();
    for name in grpc_services {
        match pool.get_service_by_name(name) {
            Some(grpc_service) => methods.extend(grpc_service.methods()),
            None => compiled.refuse(service, name, "it is advertised and not described".into()),
        }
    }
    let replies = Replies::compile(&methods);
    for method in &methods {
        compiled.add_method(service, method, &policies, &replies);
    }
    compiled
}

/// How the replies of a service's methods are written, in either spelling.
struct Replies {
    contract: Arc<JsonPlan>,
    canonical: Arc<JsonPlan>,
}

impl Replies {
    fn compile(methods: &[MethodDescriptor]) -> Self {
        let outputs = || methods.iter().map(MethodDescriptor::output);
        Self {
            contract: Arc::new(JsonPlan::compile(outputs(), Spelling::Contract)),
            canonical: Arc::new(JsonPlan::compile(outputs(), Spelling::Canonical)),
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
        policies: &PolicyTable,
        replies: &Replies,
    ) {
        let rules = match rule::rules(method) {
            Ok(rules) => rules,
            Err(reason) => return self.refuse(service, method.full_name(), reason),
        };
        for rule in rules {
            match route(service, method, &rule, policies, replies) {
                Ok(route) => self.routes.push(Arc::new(route)),
                Err(reason) => self.refuse(service, method.full_name(), reason),
            }
        }
    }
}

fn route(
    service: &str,
    method: &MethodDescriptor,
    rule: &HttpRule,
    policies: &PolicyTable,
    replies: &Replies,
) -> Result<Route, String> {
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err("streams have no REST form".into());
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let policy = policies.method(&path).cloned().ok_or("it states no policy")?;
    if policy.access == Access::Internal {
        return Err("it is internal and must have no route".into());
    }
    let template = Template::parse(&rule.path).map_err(|why| format!("`{}`: {why}", rule.path))?;
    let binding = Binding::compile(
        method.input(),
        method.output(),
        &template,
        &rule.method,
        &rule.body,
        &rule.response_body,
    )?;
    let reply = ReplyPlan::new(replies.of(policy.style), &binding)?;
    let grpc_path = PathAndQuery::try_from(path).map_err(|fault| fault.to_string())?;
    Ok(Route {
        service: service.to_owned(),
        method: rule.method.clone(),
        template,
        grpc_path,
        policy,
        binding,
        reply,
        descriptor: method.clone(),
    })
}
