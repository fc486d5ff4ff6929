//! A service's declaration: all that it writes about running.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

use axum::response::IntoResponse;
use futures::future::BoxFuture;
use sea_orm_migration::MigrationTrait;
use sha2::{Digest as _, Sha256};
use tonic::server::NamedService;

use crate::kernel::events::Consumer;
use crate::kernel::jobs::Job;
use crate::kernel::policy::{Authorizer, Entitlements};
use crate::kernel::saga::Saga;
use crate::kernel::server::App;
use crate::kernel::tls::ServerTls;
use crate::kernel::token::Verifier;

/// What a service offers, consumes and needs. The kernel validates it, then drives the process.
#[must_use = "a module does nothing until the kernel runs it"]
pub struct Module {
    pub(super) descriptors: &'static [u8],
    pub(super) grpc: axum::Router,
    pub(super) services: Vec<&'static str>,
    pub(super) http: Option<App>,
    pub(super) tls: Option<ServerTls>,
    pub(super) admin: axum::Router,
    pub(super) migrations: Vec<Box<dyn MigrationTrait>>,
    pub(super) dependencies: Vec<&'static str>,
    pub(super) permissions: Vec<Permission>,
    pub(super) consumers: Vec<Consumer>,
    pub(super) jobs: Vec<Job>,
    pub(super) sagas: Vec<Saga>,
    pub(super) on_start: Vec<BoxFuture<'static, anyhow::Result<()>>>,
    pub(super) authorizer: Option<Arc<dyn Authorizer>>,
    pub(super) entitlements: Option<Arc<dyn Entitlements>>,
    pub(super) verifier: Option<Arc<Verifier>>,
}

/// A permission that a service brings.
pub(super) struct Permission {
    pub(super) name: Cow<'static, str>,
    pub(super) description: Cow<'static, str>,
    /// Whether the service asks for it in its own code rather than in a contract.
    pub(super) checked_in_code: bool,
}

impl Module {
    /// A module of the contracts in an encoded descriptor set, such as `contract::DESCRIPTORS`.
    pub fn new(descriptors: &'static [u8]) -> Self {
        Self {
            descriptors,
            grpc: axum::Router::new(),
            services: Vec::new(),
            http: None,
            tls: None,
            admin: axum::Router::new(),
            migrations: Vec::new(),
            dependencies: Vec::new(),
            permissions: Vec::new(),
            consumers: Vec::new(),
            jobs: Vec::new(),
            sagas: Vec::new(),
            on_start: Vec::new(),
            authorizer: None,
            entitlements: None,
            verifier: None,
        }
    }

    /// Offers a gRPC service: a generated server. Policy, reflection and health follow by themselves.
    pub fn grpc<S>(mut self, service: S) -> Self
    where
        S: GrpcService,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        // A service offered twice is refused by validation; the router would panic.
        if !self.services.contains(&S::NAME) {
            self.grpc = route(self.grpc, service);
        }
        self.services.push(S::NAME);
        self
    }

    /// Serves HTTP instead of gRPC: the edge.
    pub fn http(mut self, app: impl Into<App>) -> Self {
        self.http = Some(app.into());
        self
    }

    /// Serves that HTTP over TLS. The mesh's own certificates are for its members, not for the world.
    pub fn tls(mut self, config: ServerTls) -> Self {
        self.tls = Some(config);
        self
    }

    /// Pages of the service's own on the admin port, beside health and metrics.
    pub fn admin(mut self, app: axum::Router) -> Self {
        self.admin = app;
        self
    }

    /// The migrations of the service's tables, in order. The kernel adds its own before them.
    pub fn migrations(mut self, migrations: Vec<Box<dyn MigrationTrait>>) -> Self {
        self.migrations.extend(migrations);
        self
    }

    /// Calls another service, such as `identity-svc`.
    pub fn depends_on(mut self, service: &'static str) -> Self {
        self.dependencies.push(service);
        self
    }

    /// Declares a permission that the service's contracts state; authz learns it by itself.
    pub fn permission(
        self,
        name: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.add_permission(name.into(), description.into(), false)
    }

    /// Declares a permission that no contract states, for the service asks for it in its own code.
    pub fn permission_checked_in_code(
        self,
        name: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.add_permission(name.into(), description.into(), true)
    }

    /// Handles events of other services.
    pub fn consumer(mut self, consumer: Consumer) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Does durable work: by its schedule, or when a transaction enqueues it.
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Moves the sagas of this definition on, once a transaction has begun them.
    pub fn saga(mut self, saga: Saga) -> Self {
        self.sagas.push(saga);
        self
    }

    /// Does something once, after the migrations and before the process is ready. An error refuses
    /// the start.
    pub fn on_start<F, Fut>(mut self, run: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.on_start.push(Box::pin(async move { run().await }));
        self
    }

    /// Decides on permissions. Needed if any method states one.
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = Some(authorizer);
        self
    }

    /// Knows what users' plans include. Needed if any method states a feature.
    pub fn entitlements(mut self, entitlements: Arc<dyn Entitlements>) -> Self {
        self.entitlements = Some(entitlements);
        self
    }

    /// Verifies access tokens, so that members of the mesh beside the gateway can speak for a user.
    pub fn token_verifier(mut self, verifier: Arc<Verifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// SHA-256 of the contracts it serves, in hexadecimal; empty when it serves none.
    pub(super) fn descriptor_hash(&self) -> String {
        match self.http {
            Some(_) => String::new(),
            None => hex::encode(Sha256::digest(self.descriptors)),
        }
    }

    /// Whether anything of it lives in a database, so that the kernel opens one unasked.
    pub(super) fn needs_database(&self) -> bool {
        !(self.migrations.is_empty()
            && self.permissions.is_empty()
            && self.jobs.is_empty()
            && self.sagas.is_empty())
    }

    fn add_permission(
        mut self,
        name: Cow<'static, str>,
        description: Cow<'static, str>,
        checked_in_code: bool,
    ) -> Self {
        self.permissions.push(Permission { name, description, checked_in_code });
        self
    }
}

/// A generated server.
pub trait GrpcService:
    tower::Service<axum::extract::Request, Error = Infallible>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcService for S where
    S: tower::Service<axum::extract::Request, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Adds a generated server under its own name.
pub(super) fn route<S>(router: axum::Router, service: S) -> axum::Router
where
    S: GrpcService,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*method}}", S::NAME), service)
}
