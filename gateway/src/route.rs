//! The route table: which HTTP request is which gRPC call.
//!
//! What the gateway may call is an [`Rpc`], found by its gRPC path; a [`Route`] is one binding of it to HTTP.
//! Each service's descriptors compile to its RPCs and routes; the table joins the routes of all services.
//! Where two want the same path and method, the older one stays and the other is reported. A
//! service that is gone keeps its routes, so that its callers hear 503 and not 404. Readers take
//! the whole table at once from [`LiveTable`]; it is replaced, never changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::Method;
use http::uri::PathAndQuery;
use mainstay::kernel::policy::MethodPolicy;
use mainstay::kernel::telemetry::metrics::HttpRoute;
use prost_reflect::MethodDescriptor;
use serde::Serialize;

pub(crate) mod compile;
#[cfg(test)]
mod http_rules;
pub(crate) mod join;
pub(crate) mod percent;
pub(crate) mod rule;
#[cfg(test)]
mod socket_rules;
pub(crate) mod template;
pub(crate) mod tree;

use template::{Capture, Template};
use tree::{Found, Tree};

use crate::transcode::binding::Binding;
use crate::transcode::render::{MessagePlan, ReplyPlan};
use crate::transcode::request::RequestPlan;

/// One gRPC method that the gateway may call, in whatever protocol it is asked for it.
#[derive(Debug)]
pub(crate) struct Rpc {
    /// The service that answers, such as `identity-svc`.
    pub(crate) service: String,
    /// The gRPC method's path.
    pub(crate) grpc_path: PathAndQuery,
    /// What the contract states about it.
    pub(crate) policy: Arc<MethodPolicy>,
    /// The method, for its messages and its documentation.
    pub(crate) descriptor: MethodDescriptor,
    /// Its messages in canonical JSON; `None` where one has no such form.
    pub(crate) json: Option<CanonicalJson>,
    /// What is measured of it where it is asked for by its own path.
    pub(crate) series: OnceLock<HttpRoute>,
}

/// The messages of an RPC in canonical JSON, whole and with nothing around them.
#[derive(Debug)]
pub(crate) struct CanonicalJson {
    /// The request.
    pub(crate) request: RequestPlan,
    /// The reply.
    pub(crate) reply: MessagePlan,
}

/// One HTTP route to one gRPC method.
#[derive(Debug)]
pub(crate) struct Route {
    /// What it calls.
    pub(crate) rpc: Arc<Rpc>,
    /// The HTTP method.
    pub(crate) method: Method,
    /// The path template.
    pub(crate) template: Template,
    /// In what the messages travel.
    pub(crate) form: Form,
    /// How the request fills the message.
    pub(crate) binding: Binding,
    /// How the response message becomes the reply.
    pub(crate) reply: ReplyPlan,
    /// What is measured of it.
    pub(crate) series: OnceLock<HttpRoute>,
}

/// In what the messages of a route travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One message each way: a request and its reply.
    Unary,
    /// The reply is a stream: its messages are written as they come.
    Stream,
    /// The request is a stream of parts of an upload: they are sent as they come.
    Upload,
    /// The request is a stream, the reply may be one: a WebSocket.
    Socket,
}

/// A route that lost its place to an older one, or that could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Refusal {
    /// The service that wanted it.
    pub(crate) service: String,
    /// The gRPC method.
    pub(crate) method: String,
    /// Why it is not routed.
    pub(crate) reason: String,
}

/// All routes at one moment.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    /// Grows with each table.
    pub(crate) version: u64,
    /// The routes, by path and method.
    pub(crate) routes: Vec<Arc<Route>>,
    /// Routes that were refused.
    pub(crate) refusals: Vec<Refusal>,
    /// The services that have an instance.
    pub(crate) present: BTreeSet<String>,
    tree: Tree<Route>,
    /// The WebSockets, each at the GET of its handshake. They have a tree of their own: a path may have one
    /// and a GET beside it.
    sockets: Tree<Route>,
    rpcs: HashMap<String, Arc<Rpc>>,
}

/// The table that requests are answered by right now.
pub(crate) type LiveTable = Arc<ArcSwap<RouteTable>>;

/// A request's route and what its path says.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The route.
    pub(crate) route: Arc<Route>,
    /// The path's part of the request message.
    pub(crate) captures: Vec<Capture>,
}

/// Why a request has no route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// No such path.
    Path,
    /// The path is there, for these methods.
    Method(BTreeSet<String>),
}

impl RouteTable {
    /// A table of routes that do not conflict.
    pub(crate) fn new(
        version: u64,
        mut routes: Vec<Arc<Route>>,
        rpcs: HashMap<String, Arc<Rpc>>,
        refusals: Vec<Refusal>,
        present: BTreeSet<String>,
    ) -> Self {
        routes.sort_by(|a, b| {
            let key = |route: &Route| {
                let text = route.template.text().to_owned();
                (text, route.method.to_string(), route.form == Form::Socket)
            };
            key(a).cmp(&key(b))
        });
        let (mut tree, mut sockets) = (Tree::default(), Tree::default());
        for route in &routes {
            let tree = if route.form == Form::Socket { &mut sockets } else { &mut tree };
            tree.insert(&route.template.shape(), route.method.clone(), Arc::clone(route));
        }
        Self { version, routes, refusals, present, tree, sockets, rpcs }
    }

    /// The route of a request that opens no WebSocket. HEAD is answered by the route of GET, where it has
    /// none of its own; where a path has a WebSocket alone, that one tells both what it takes.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<Target, NoRoute> {
        let inner = path.strip_prefix('/').ok_or(NoRoute::Path)?;
        let found = match self.tree.find(inner, method) {
            Found::OtherMethods(_) if *method == Method::HEAD => {
                self.tree.find(inner, &Method::GET)
            }
            found => found,
        };
        let methods = match found {
            Found::Value(route) => return Ok(Target::new(route, inner)),
            Found::OtherMethods(methods) => methods,
            Found::Nothing => BTreeSet::new(),
        };
        match self.socket(path) {
            Some(socket) if [Method::GET, Method::HEAD].contains(method) => Ok(socket),
            socket => Err(all(methods, socket.is_some()).map_or(NoRoute::Path, NoRoute::Method)),
        }
    }

    /// The WebSocket at a path.
    pub(crate) fn socket(&self, path: &str) -> Option<Target> {
        let path = path.strip_prefix('/')?;
        match self.sockets.find(path, &Method::GET) {
            Found::Value(route) => Some(Target::new(route, path)),
            _ => None,
        }
    }

    /// The RPC at a gRPC path.
    pub(crate) fn rpc(&self, path: &str) -> Option<&Arc<Rpc>> {
        self.rpcs.get(path)
    }

    /// All RPCs that may be called, by their paths.
    pub(crate) fn rpcs(&self) -> Vec<&Arc<Rpc>> {
        let mut rpcs: Vec<_> = self.rpcs.values().collect();
        rpcs.sort_by_key(|rpc| rpc.grpc_path.path());
        rpcs
    }

    /// The methods that a path takes, for `OPTIONS`.
    pub(crate) fn methods(&self, path: &str) -> Option<BTreeSet<String>> {
        let methods = match self.tree.find(path.strip_prefix('/')?, &Method::OPTIONS) {
            Found::Value(_) => return Some(ANY_METHOD.map(str::to_owned).into()),
            Found::OtherMethods(methods) => methods,
            Found::Nothing => BTreeSet::new(),
        };
        all(methods, self.socket(path).is_some())
    }

    /// Whether the service of a route has an instance.
    pub(crate) fn is_present(&self, service: &str) -> bool {
        self.present.contains(service)
    }
}

impl Target {
    fn new(route: &Arc<Route>, path: &str) -> Self {
        Self { captures: route.template.captures(path), route: Arc::clone(route) }
    }
}

/// What is told of a path that takes every method.
const ANY_METHOD: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The methods of a path that has these routes, and perhaps a WebSocket; `None` if it has nothing.
fn all(mut methods: BTreeSet<String>, has_socket: bool) -> Option<BTreeSet<String>> {
    if has_socket {
        methods.insert("GET".to_owned());
    }
    (!methods.is_empty()).then(|| allowed(methods))
}

/// `HEAD` goes with `GET`, and `OPTIONS` with everything.
fn allowed(mut methods: BTreeSet<String>) -> BTreeSet<String> {
    if methods.contains("GET") {
        methods.insert("HEAD".to_owned());
    }
    methods.insert("OPTIONS".to_owned());
    methods
}
