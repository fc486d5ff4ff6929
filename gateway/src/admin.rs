//! What the admin port shows of the gateway: `/admin/routes`, and whether routes are known.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use mainstay::kernel::health::Readiness;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use crate::envelope;
use crate::route::{LiveTable, Route, RouteTable, Rpc};

/// The pages for the admin port.
pub(crate) fn routes(live: LiveTable) -> Router {
    Router::new().route("/admin/routes", get(show)).with_state(live)
}

/// The gateway is ready when every service of the first snapshot has been asked for its routes.
pub(crate) fn report_readiness(readiness: &Readiness, settled: watch::Receiver<bool>) {
    readiness.add("routes", move || {
        let settled = *settled.borrow();
        async move {
            if settled {
                Ok(())
            } else {
                Err("services are being asked for their routes".to_owned())
            }
        }
    });
}

async fn show(State(live): State<LiveTable>) -> Response {
    envelope::json(&describe(&live.load()))
}

fn describe(table: &RouteTable) -> Json {
    json!({
        "version": table.version,
        "services": services(table),
        "routes": table.routes.iter().map(|route| row(route)).collect::<Vec<_>>(),
        "rpcs": table.rpcs().into_iter().map(|rpc| callable(rpc)).collect::<Vec<_>>(),
        "refusals": table.refusals,
    })
}

fn services(table: &RouteTable) -> Json {
    let mut names: Vec<&str> =
        table.routes.iter().map(|route| route.rpc.service.as_str()).collect();
    names.extend(table.present.iter().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    let rows = names.iter().map(|name| json!({ "name": name, "present": table.is_present(name) }));
    rows.collect()
}

/// What can be called by its own path, in gRPC and its kin.
fn callable(rpc: &Rpc) -> Json {
    json!({ "path": rpc.grpc_path.path(), "service": rpc.service })
}

fn row(route: &Route) -> Json {
    json!({
        "method": route.method.as_str(),
        "path": route.template.text(),
        "service": route.rpc.service,
        "rpc": route.rpc.policy.full_name,
    })
}
