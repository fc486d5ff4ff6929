//! `grpc.health.v1`: readiness for those who probe by gRPC, such as Consul and Kubernetes.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _, unfold};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Readiness;

/// How often a watched status is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// The health service over [`Readiness`].
#[derive(Clone, Debug)]
pub struct GrpcHealth {
    readiness: Readiness,
    services: Vec<&'static str>,
}

/// The health service of a process that serves these gRPC services, by full name. All have the one
/// readiness of the process.
pub fn grpc_health(readiness: Readiness, services: Vec<&'static str>) -> HealthServer<GrpcHealth> {
    HealthServer::new(GrpcHealth { readiness, services })
}

impl GrpcHealth {
    /// The empty name stands for the whole process.
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }

    async fn status(&self, service: &str) -> ServingStatus {
        if !self.knows(service) {
            ServingStatus::ServiceUnknown
        } else if self.readiness.reasons().await.is_empty() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

#[tonic::async_trait]
impl Health for GrpcHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.status(&service).await {
            ServingStatus::ServiceUnknown => {
                Err(Status::not_found(format!("no service `{service}` here")))
            }
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let watched = unfold((self.clone(), service, None), |(health, service, last)| async move {
            loop {
                let status = health.status(&service).await;
                if last != Some(status) {
                    return Some((Ok(response(status)), (health, service, Some(status))));
                }
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
        });
        Ok(Response::new(watched.boxed()))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
