//! One request that is for an RPC, on its way through the inner stages, whatever protocol it came in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::header::{ALLOW, AUTHORIZATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode, request};
use mainstay::kernel::call::{self, Call, User};
use mainstay::kernel::error::{DEADLINE_EXCEEDED, Error, Result, UNAUTHENTICATED};
use mainstay::kernel::policy::{Access, Entitlements as _};
use mainstay::kernel::telemetry::Listed;
use mainstay::kernel::telemetry::metrics::RefusedBy;

use super::client_ip::ClientIp;
use super::front::{self, Codec, Connect, Found, Front, Protocol};
use super::idempotency::{self, Keyed};
use super::messages::Messages;
use super::observe::{Answered, Subject};
use super::{
    Edge, api_key, caching, compression, connect, grpc, hygiene, request_id, rest, timeout,
};
use crate::error;
use crate::route::{Form, Rpc};
use crate::transcode::binding::Binding;
use crate::transcode::query::Parameters;

/// A request between route and reply.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(super) edge: Arc<Edge>,
    pub(super) front: Front,
    pub(super) rpc: Arc<Rpc>,
    pub(super) head: request::Parts,
    pub(super) client: ClientIp,
    /// Who calls and until when.
    pub(super) call: Arc<Call>,
    /// Whether an API key says who calls: it has limits of its own.
    by_api_key: bool,
    /// When the caller stops waiting, if it says so.
    pub(super) patience: Option<Instant>,
    /// The query of a route, without its cursor.
    pub(super) parameters: Parameters,
    /// The request message in protobuf encoding; of a stream, the first one if a policy asks for it.
    pub(super) message: Bytes,
    /// Set where the request has an `Idempotency-Key` that its method takes.
    pub(super) keyed: Option<Arc<Keyed>>,
    /// Headers that every reply from here on carries.
    pub(super) reply_headers: HeaderMap,
    /// Tells operators that the request is being answered.
    _listed: Arc<Listed>,
}

/// What is sent to the service.
pub(crate) enum Sending {
    /// The message of the exchange.
    One,
    /// Messages as they come.
    Many(Messages),
    /// What will come over a WebSocket.
    Socket(Box<rest::socket::Upgrade>),
}

impl Exchange {
    /// Finds what the request is for. `Err` is the reply to a request that is for nothing there is, or
    /// that the gateway answers itself.
    #[allow(clippy::result_large_err)] // replies are as large as they are
    pub(crate) fn route(
        edge: Arc<Edge>,
        request: Request,
    ) -> std::result::Result<(Self, Body), Response> {
        let received = Instant::now();
        let table = edge.live.load_full();
        hygiene::check(&edge, &request)?;
        if let Some(page) = edge.pages.answer(&table, &request) {
            return Err(page);
        }
        let protocol = request.extensions().get().copied().unwrap_or(Protocol::Rest);
        let found = timeout::stated(protocol, request.headers())
            .and_then(|timeout| Ok((front::find(protocol, &table, &request)?, timeout)));
        let client = ClientIp::of(&request);
        let (head, body) = request.into_parts();
        match found {
            Ok((Found::Options(methods), _)) => Err(options(&methods)),
            Ok((Found::Call(front, rpc), timeout)) => {
                let call = call::current().unwrap_or_default();
                let listed = edge.metrics.calls_in_flight().list(&rpc.policy, call);
                let patience = timeout.and_then(|timeout| received.checked_add(timeout));
                let exchange = Self {
                    call: Arc::new(begin(client, until(rpc.policy.deadline, patience))),
                    edge,
                    front,
                    rpc,
                    head,
                    client,
                    by_api_key: false,
                    patience,
                    parameters: Parameters::new(),
                    message: Bytes::new(),
                    keyed: None,
                    reply_headers: HeaderMap::new(),
                    _listed: Arc::new(listed),
                };
                Ok((exchange, body))
            }
            Err(error) => {
                edge.metrics.rejected(RefusedBy::Route, &error);
                Err(front::refuse(protocol, &error, &request_id::current()))
            }
        }
    }

    /// Verifies the access token or the API key, where the method asks for a user.
    pub(crate) async fn token(&mut self) -> Result<()> {
        if matches!(self.rpc.policy.access, Access::Public | Access::Webhook) {
            return Ok(());
        }
        let verifier = self.edge.verifier.as_ref().ok_or_else(|| nobody("verifies tokens"))?;
        let claims = match (&self.edge.api_keys, api_key::offered(&self.head.headers)?) {
            (Some(keys), Some(key)) => {
                self.by_api_key = true;
                let verified = Box::pin(api_key::verify(keys, verifier, key));
                call::scope(Arc::clone(&self.call), verified).await?
            }
            _ => {
                let token = match rest::socket::offered_token(self) {
                    Some(token) => token,
                    None => bearer(&self.head.headers)?,
                };
                call::scope(Arc::clone(&self.call), verifier.verify(token)).await?
            }
        };
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
        let policy = &self.rpc.policy;
        let plan = self.call.user.as_ref().map(|user| user.plan.as_str());
        let subject = match &self.call.user {
            Some(User { session_id: Some(key), .. }) if self.by_api_key => format!("key:{key}"),
            Some(user) => format!("user:{}", user.id),
            None => format!("ip:{}", self.client.network()),
        };
        let class = policy.rate_class.as_deref();
        let reply = &mut self.reply_headers;
        let row = self.edge.policies.load().rates.row(class, plan);
        rates.take(row, &subject, policy.rate_cost, reply).await
    }

    /// Reads the request message, and checks it by the contract's rules. Of a stream only the first is
    /// read, and only where a policy asks for it.
    pub(crate) async fn message(&mut self, body: Body) -> Result<Sending> {
        idempotency::check(self)?;
        // Boxed but for what most calls are, so that their future is small.
        let sending = match self.front.clone() {
            Front::Rest(target) => rest::message(self, &target, body).await?,
            Front::Grpc { .. } => Box::pin(grpc::message(self, body)).await?,
            Front::Connect(connect) => Box::pin(connect::message(self, connect, body)).await?,
        };
        match sending {
            Sending::One => {
                let deadline = until(self.rpc.policy.deadline, self.patience);
                self.change_call(|call| call.deadline = Some(deadline));
                self.validate()?;
                Ok(Sending::One)
            }
            Sending::Many(messages) if self.rpc.policy.asks_the_message() => {
                Box::pin(self.first_of(messages)).await.map(Sending::Many)
            }
            sending => Ok(sending),
        }
    }

    /// Checks that the caller's plan includes the feature that the method needs, by the same code as
    /// the service will. The plan that billing names is the one that the service hears of.
    pub(crate) async fn entitlement(&mut self) -> Result<()> {
        let edge = Arc::clone(&self.edge);
        let policy = &self.rpc.policy;
        if policy.feature.is_none() {
            return Ok(());
        }
        let user = self.call.require_user()?.clone();
        let entitlements = edge.entitlements.as_ref().ok_or_else(|| nobody("knows plans"))?;
        let plan = entitlements.plan_of(&user);
        let plan = call::scope(Arc::clone(&self.call), plan).await?.id.clone();
        let decision = policy.entitle(&self.call, Some(entitlements));
        call::scope(Arc::clone(&self.call), decision).await?;
        self.change_call(|call| call.user = Some(User { plan, ..user }));
        Ok(())
    }

    /// Checks the permission, by the same code as the service will. Over a WebSocket it is checked
    /// when the first message has come, where it asks for that.
    pub(crate) async fn permission(&self) -> Result<()> {
        match self.is_socket() && self.rpc.policy.asks_the_message() {
            true => Ok(()),
            false => self.authorize().await,
        }
    }

    /// Makes the call and renders its reply.
    pub(crate) async fn call(&mut self, sending: Sending) -> Result<Response> {
        match self.front.clone() {
            Front::Rest(target) => rest::call(self, &target, sending).await,
            Front::Grpc { .. } => Box::pin(grpc::call(self, sending)).await,
            Front::Connect(connect) => Box::pin(connect::call(self, connect, sending)).await,
        }
    }

    /// The reply, with the headers that belong to it.
    pub(crate) fn reply(self, outcome: Result<Response>) -> Response {
        let protocol = self.front.protocol();
        let response =
            outcome.unwrap_or_else(|error| front::refuse(protocol, &error, &self.call.request_id));
        let mut response = caching::finish(&self, response);
        if let Front::Rest(_) = &self.front {
            compression::allow(&self.rpc.policy, &mut response);
        }
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        response.headers_mut().extend(self.reply_headers);
        if self.call.user.is_some() {
            response.extensions_mut().insert(Subject(Arc::clone(&self.call)));
        }
        response.extensions_mut().insert(match self.front {
            Front::Rest(target) => Answered::By(Arc::clone(&target.route)),
            Front::Grpc { .. } | Front::Connect(_) => Answered::Rpc(self.rpc),
        });
        response
    }

    /// How the caller's request fills the message, where it came by a route.
    pub(super) fn binding(&self) -> Option<&Binding> {
        match &self.front {
            Front::Rest(target) => Some(&target.route.binding),
            Front::Grpc { .. } | Front::Connect(_) => None,
        }
    }

    /// Whether the request is for a WebSocket.
    pub(super) fn is_socket(&self) -> bool {
        matches!(&self.front, Front::Rest(target) if target.route.form == Form::Socket)
    }

    /// Takes the first message of a stream for the policies that ask for it, and puts it back.
    pub(super) async fn first_of(&mut self, mut messages: Messages) -> Result<Messages> {
        let deadline = until(self.rpc.policy.deadline, self.patience);
        let first = match tokio::time::timeout_at(deadline.into(), messages.next()).await {
            Ok(first) => first.transpose()?,
            Err(_) => return Err(Error::new(DEADLINE_EXCEEDED, "no message has come in time")),
        };
        self.message = first.clone().unwrap_or_default();
        self.validate()?;
        Ok(stream::iter(first.map(Ok)).chain(messages).boxed())
    }

    /// Whether the caller holds the permission that the message of the exchange asks for.
    pub(super) async fn authorize(&self) -> Result<()> {
        let authorizer = self.edge.authorizer.as_deref();
        let decision = self.rpc.policy.authorize(&self.call, &self.message, authorizer);
        call::scope(Arc::clone(&self.call), decision).await
    }

    fn validate(&self) -> Result<()> {
        let (rules, message) = (&self.rpc.policy.validation, &self.message);
        // From JSON it was written here; what comes in protobuf encoding may be unreadable.
        let checked = match &self.front {
            Front::Rest(target) if target.route.form != Form::Socket => {
                rules.validate_written(message)
            }
            Front::Connect(Connect { codec: Codec::Json, .. }) => rules.validate_written(message),
            Front::Rest(_) | Front::Grpc { .. } | Front::Connect(_) => rules.validate(message),
        };
        checked.map_err(|error| error::for_caller(error, self.binding()))
    }

    fn change_call(&mut self, change: impl FnOnce(&mut Call)) {
        change(Arc::make_mut(&mut self.call));
    }
}

/// Routes that need what this gateway has not are refused when they are compiled.
fn nobody(does: &str) -> Error {
    Error::internal(anyhow::anyhow!("a route was admitted although nobody {does}"))
}

/// When a call ends: when the contract says, or when the caller stops waiting.
fn until(deadline: Duration, patience: Option<Instant>) -> Instant {
    let deadline = Instant::now() + deadline;
    patience.map_or(deadline, |patience| patience.min(deadline))
}

fn begin(client: ClientIp, deadline: Instant) -> Call {
    Call {
        request_id: request_id::current(),
        peer: client.0.to_string(),
        user: None,
        deadline: Some(deadline),
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

/// The token of the one `Authorization: Bearer` header (RFC 6750, section 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str> {
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
