//! One request that has a route, on its way through the inner stages.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode, request};
use mainstay::kernel::call::{self, Call, User};
use mainstay::kernel::error::{Error, NOT_FOUND, Result, UNAUTHENTICATED};
use mainstay::kernel::policy::{Access, Entitlements as _};

use super::client_ip::ClientIp;
use super::observe::Answered;
use super::{Edge, body, hygiene, request_id, upstream};
use crate::cursor::Listing;
use crate::error::{self, ALLOW_DETAIL, METHOD_NOT_ALLOWED};
use crate::route::{NoRoute, RouteTable, Target};
use crate::transcode::query::{self, Parameters};
use crate::transcode::request::Parts;

/// A request between route and reply.
pub(crate) struct Exchange {
    pub(super) edge: Arc<Edge>,
    pub(super) target: Target,
    pub(super) head: request::Parts,
    pub(super) client: ClientIp,
    /// Who calls and until when.
    pub(super) call: Arc<Call>,
    /// The query without its cursor.
    pub(super) parameters: Parameters,
    /// The request message in protobuf encoding.
    pub(super) message: Bytes,
    /// Headers that every reply from here on carries.
    pub(super) reply_headers: HeaderMap,
}

impl Exchange {
    /// Finds the route. `Err` is the reply to a request that has none, or that the gateway answers
    /// itself.
    #[allow(clippy::result_large_err)] // replies are as large as they are
    pub(crate) fn route(
        edge: Arc<Edge>,
        request: Request,
    ) -> std::result::Result<(Self, Body), Response> {
        let table = edge.live.load_full();
        if let Some(page) = edge.pages.answer(&table, &request) {
            return Err(page);
        }
        let found = hygiene::check(&request, edge.settings.uri_max_bytes)
            .and_then(|()| find(&table, &request));
        let client = ClientIp::of(&request);
        let (head, body) = request.into_parts();
        match found {
            Ok(Found::Options(methods)) => Err(options(&methods)),
            Ok(Found::Target(target)) => {
                let exchange = Self {
                    call: Arc::new(begin(client, &target)),
                    edge,
                    target,
                    head,
                    client,
                    parameters: Parameters::new(),
                    message: Bytes::new(),
                    reply_headers: HeaderMap::new(),
                };
                Ok((exchange, body))
            }
            Err(error) => Err(error::response(&error, &request_id::current())),
        }
    }

    /// Verifies the access token, where the method asks for a user.
    pub(crate) async fn token(&mut self) -> Result<()> {
        if matches!(self.target.route.policy.access, Access::Public | Access::Webhook) {
            return Ok(());
        }
        let token = bearer(&self.head.headers)?;
        let verifier = self.edge.verifier.as_ref().ok_or_else(|| nobody("verifies tokens"))?;
        let claims = call::scope(Arc::clone(&self.call), verifier.verify(token)).await?;
        let plan = match &self.edge.entitlements {
            Some(entitlements) => entitlements.plan_since(&claims.sub, claims.iat).await,
            None => None,
        };
        let user = User {
            id: claims.sub.clone(),
            plan: plan.unwrap_or_else(|| claims.plan.clone()),
            session_id: Some(claims.sid.clone()).filter(|session| !session.is_empty()),
        };
        self.change_call(|call| call.user = Some(user));
        Ok(())
    }

    /// Takes the call's cost from the caller's bucket of the rate class.
    pub(crate) async fn rate_class(&mut self) -> Result<()> {
        let Some(rates) = &self.edge.rates else { return Ok(()) };
        let policy = &self.target.route.policy;
        let plan = self.call.user.as_ref().map(|user| user.plan.as_str());
        let subject = match &self.call.user {
            Some(user) => format!("user:{}", user.id),
            None => format!("ip:{}", self.client.network()),
        };
        let class = policy.rate_class.as_deref();
        let reply = &mut self.reply_headers;
        let row = self.edge.policies.load().rates.row(class, plan);
        rates.take(row, &subject, policy.rate_cost, reply).await
    }

    /// Reads body, query and path into the request message, and checks it by the contract's rules.
    pub(crate) async fn message(&mut self, body: Body) -> Result<()> {
        let route = Arc::clone(&self.target.route);
        let mut parameters = query::parse(self.head.uri.query())?;
        let cursor = match &route.binding.list {
            Some(_) => query::take_cursor(&mut parameters)?,
            None => None,
        };
        self.parameters = parameters;
        let limit = route.policy.max_body_bytes;
        let body = body::read(&self.head.headers, body, limit, self.edge.settings.body_timeout);
        let body = body.await?;
        let page_token = match cursor {
            Some(cursor) => Some(self.edge.cursors.verify(&self.listing(), &cursor)?),
            None => None,
        };
        self.message = route.binding.request(Parts {
            captures: &self.target.captures,
            parameters: &self.parameters,
            content_type: content_type(&self.head.headers),
            page_token: page_token.as_deref(),
            body,
        })?;
        self.change_call(|call| call.deadline = Some(Instant::now() + route.policy.deadline));
        route
            .policy
            .validate(&self.message)
            .map_err(|error| error::for_caller(error, &route.binding))
    }

    /// Checks that the caller's plan includes the feature that the method needs, by the same code as
    /// the service will. The plan that billing names is the one that the service hears of.
    pub(crate) async fn entitlement(&mut self) -> Result<()> {
        let edge = Arc::clone(&self.edge);
        let policy = &self.target.route.policy;
        if policy.feature.is_none() {
            return Ok(());
        }
        let user = self.call.require_user()?.clone();
        let entitlements = edge.entitlements.as_ref().ok_or_else(|| nobody("knows plans"))?;
        let plan = entitlements.plan_of(&user.id);
        let plan = call::scope(Arc::clone(&self.call), plan).await?.id.clone();
        let decision = policy.entitle(&self.call, Some(entitlements));
        call::scope(Arc::clone(&self.call), decision).await?;
        self.change_call(|call| call.user = Some(User { plan, ..user }));
        Ok(())
    }

    /// Checks the permission, by the same code as the service will.
    pub(crate) async fn permission(&mut self) -> Result<()> {
        let policy = &self.target.route.policy;
        let decision = policy.authorize(&self.call, &self.message, self.edge.authorizer.as_deref());
        call::scope(Arc::clone(&self.call), decision).await
    }

    /// Makes the call and renders its reply.
    pub(crate) async fn call(&mut self) -> Result<Response> {
        call::scope(Arc::clone(&self.call), upstream::call(self)).await
    }

    /// The reply, with the headers that belong to it.
    pub(crate) fn reply(self, outcome: Result<Response>) -> Response {
        let response =
            outcome.unwrap_or_else(|error| error::response(&error, &self.call.request_id));
        let mut response = finished(response, self.call.user.is_some());
        response.headers_mut().extend(self.reply_headers);
        response.extensions_mut().insert(Answered::By(self.target.route));
        response
    }

    /// The list that a cursor of this request belongs to.
    pub(super) fn listing(&self) -> Listing<'_> {
        let captures = self.target.captures.iter();
        Listing {
            method: self.target.route.grpc_path.path(),
            caller: self.call.user.as_ref().map_or("", |user| user.id.as_str()),
            path: captures
                .map(|found| (found.field.join("."), found.text.clone().unwrap_or_default()))
                .collect(),
            parameters: self.parameters.clone(),
        }
    }

    fn change_call(&mut self, change: impl FnOnce(&mut Call)) {
        change(Arc::make_mut(&mut self.call));
    }
}

/// Routes that need what this gateway has not are refused when they are compiled.
fn nobody(does: &str) -> Error {
    Error::internal(anyhow::anyhow!("a route was admitted although nobody {does}"))
}

enum Found {
    Target(Target),
    Options(BTreeSet<String>),
}

fn find(table: &RouteTable, request: &Request) -> Result<Found> {
    let path = request.uri().path();
    if *request.method() == Method::OPTIONS
        && let Some(methods) = table.methods(path)
    {
        return Ok(Found::Options(methods));
    }
    if table.version == 0 {
        return Err(Error::unavailable("the routes are not known yet"));
    }
    match table.find(request.method(), path) {
        Ok(target) if table.is_present(&target.route.service) => Ok(Found::Target(target)),
        Ok(target) => Err(Error::unavailable(format!("{} is away", target.route.service))),
        Err(NoRoute::Path) => Err(Error::new(NOT_FOUND, "there is nothing at this path")),
        Err(NoRoute::Method(methods)) => {
            let allow = methods.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("{} is not allowed here, but {allow}", request.method());
            Err(Error::new(METHOD_NOT_ALLOWED, message).detail(ALLOW_DETAIL, allow))
        }
    }
}

/// The reply to OPTIONS: what the path takes.
fn options(methods: &BTreeSet<String>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = methods.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

fn begin(client: ClientIp, target: &Target) -> Call {
    Call {
        request_id: request_id::current(),
        peer: client.0.to_string(),
        user: None,
        deadline: Some(Instant::now() + target.route.policy.deadline),
    }
}

/// What every reply carries: its type is to be believed, and what is a user's own is not stored.
fn finished(mut response: Response, has_user: bool) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if has_user {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The token of the one `Authorization: Bearer` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Error::new(UNAUTHENTICATED, "an access token is needed"));
    };
    let refused = || Error::new(UNAUTHENTICATED, "Authorization is to be one `Bearer <token>`");
    if values.next().is_some() {
        return Err(refused());
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(refused)?;
    let token = token.trim();
    let sound = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
    if sound { Ok(token) } else { Err(refused()) }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(http::header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"))
}
