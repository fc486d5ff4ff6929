//! A stand-in for the API server of Kubernetes: lists in pages and watches of slices and pods, with
//! everything that goes wrong on the way.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use mainstay::kernel::server::{Listener, Serving};
use mainstay::kernel::settings::ServerLimits;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::mesh::free_port;

/// Objects on one page of a list, so that lists have several.
const PAGE: usize = 2;

/// A cluster with one namespace.
pub(crate) struct Cluster {
    state: Shared,
    serving: Serving,
}

type Shared = Arc<watch::Sender<Mutex<Objects>>>;

#[derive(Default)]
struct Objects {
    /// Grows with each change.
    version: u64,
    /// Kind and name, and the object.
    present: BTreeMap<(String, String), Value>,
    /// Version, kind, type of the event, object.
    history: Vec<(u64, String, &'static str, Value)>,
    /// Grows when all watches are to break off.
    epoch: u64,
    away: bool,
    forbidden: bool,
    watches_from: Vec<u64>,
    lists: usize,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let state: Shared = Arc::new(watch::Sender::default());
        let app = Router::new()
            .route("/apis/discovery.k8s.io/v1/namespaces/{namespace}/{kind}", get(answer))
            .route("/api/v1/namespaces/{namespace}/{kind}", get(answer))
            .with_state(Arc::clone(&state));
        let limits = ServerLimits::default();
        let serving = Listener::bind(free_port(), None, &limits).await.unwrap().serve(app);
        Self { state, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.serving.local_addr())
    }

    /// Adds an object, or puts it in the place of the one of its name.
    pub(crate) fn put(&self, kind: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.change(|objects| {
            let known = objects.present.contains_key(&(kind.to_owned(), name.clone()));
            objects.record(kind, if known { "MODIFIED" } else { "ADDED" }, &name, object);
        });
    }

    pub(crate) fn delete(&self, kind: &str, name: &str) {
        self.change(|objects| {
            let key = (kind.to_owned(), name.to_owned());
            let object = objects.present.get(&key).cloned().unwrap();
            objects.record(kind, "DELETED", name, object);
            objects.present.remove(&key);
        });
    }

    /// Breaks all watches off in the middle.
    pub(crate) fn disconnect(&self) {
        self.change(|objects| objects.epoch += 1);
    }

    /// Breaks all watches off and forgets what they could go on from.
    pub(crate) fn forget_history(&self) {
        self.change(|objects| {
            objects.epoch += 1;
            objects.version += 100;
            objects.history.clear();
        });
    }

    /// Answers 503 to everything, or is itself again.
    pub(crate) fn away(&self, away: bool) {
        self.change(|objects| {
            objects.away = away;
            objects.epoch += 1;
        });
    }

    pub(crate) fn forbid(&self) {
        self.change(|objects| objects.forbidden = true);
    }

    pub(crate) fn lists(&self) -> usize {
        self.state.borrow().lock().unwrap().lists
    }

    pub(crate) fn watches(&self) -> usize {
        self.state.borrow().lock().unwrap().watches_from.len()
    }

    fn change(&self, change: impl FnOnce(&mut Objects)) {
        self.state.send_modify(|objects| change(objects.get_mut().unwrap()));
    }
}

impl Objects {
    fn record(&mut self, kind: &str, event: &'static str, name: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["namespace"] = json!("platform");
        self.history.push((self.version, kind.to_owned(), event, object.clone()));
        self.present.insert((kind.to_owned(), name.to_owned()), object);
    }

    /// A page of all objects of a kind; `from` counts those that were on pages before.
    fn page(&self, kind: &str, from: usize) -> Value {
        let all = self.present.iter().filter(|((of, _), _)| of == kind);
        let items: Vec<_> = all.map(|(_, object)| object.clone()).collect();
        let to = (from + PAGE).min(items.len());
        let more = if to < items.len() { json!(to.to_string()) } else { json!("") };
        json!({
            "kind": "List",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": self.version.to_string(), "continue": more},
            "items": items[from..to],
        })
    }

    /// Lines of a watch after a version.
    fn news(&self, kind: &str, after: u64) -> Vec<String> {
        let news = self.history.iter().filter(|(version, of, _, _)| *version > after && of == kind);
        news.map(|(_, _, event, object)| line(event, object)).collect()
    }
}

fn line(event: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": event, "object": object}))
}

fn failure(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": format!("{reason} by the stand-in"),
        "reason": reason,
        "code": code,
    })
}

async fn answer(
    State(state): State<Shared>,
    Path((namespace, kind)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    assert_eq!(namespace, "platform");
    assert_eq!(query["labelSelector"], "app.kubernetes.io/part-of=mainstay");
    let borrowed = state.borrow();
    let mut objects = borrowed.lock().unwrap();
    if objects.away {
        let unavailable = failure(503, "ServiceUnavailable");
        return (StatusCode::SERVICE_UNAVAILABLE, Json(unavailable)).into_response();
    }
    if objects.forbidden {
        return (StatusCode::FORBIDDEN, Json(failure(403, "Forbidden"))).into_response();
    }
    if !query.contains_key("watch") {
        objects.lists += 1;
        let from = query.get("continue").map_or(0, |token| token.parse().unwrap());
        return Json(objects.page(&kind, from)).into_response();
    }
    let from: u64 = query["resourceVersion"].parse().unwrap();
    objects.watches_from.push(from);
    // What is older than the history cannot be told.
    let oldest = objects.history.first().map_or(objects.version, |(version, ..)| version - 1);
    if from < oldest {
        return line("ERROR", &failure(410, "Expired")).into_response();
    }
    let epoch = objects.epoch;
    drop(objects);
    drop(borrowed);
    axum::body::Body::from_stream(watching(state, kind, from, epoch)).into_response()
}

/// Bookmarks and news, until the watch is broken off.
fn watching(
    state: Shared,
    kind: String,
    from: u64,
    epoch: u64,
) -> impl futures::Stream<Item = Result<String, Infallible>> {
    let receiver = state.subscribe();
    futures::stream::unfold((receiver, from), move |(mut receiver, after)| {
        let kind = kind.clone();
        async move {
            loop {
                let (version, lines) = {
                    let borrowed = receiver.borrow_and_update();
                    let objects = borrowed.lock().unwrap();
                    if objects.epoch != epoch {
                        return None;
                    }
                    (objects.version, objects.news(&kind, after))
                };
                if version > after {
                    let bookmark = json!({
                        "kind": if kind == "pods" { "Pod" } else { "EndpointSlice" },
                        "apiVersion": if kind == "pods" { "v1" } else { "discovery.k8s.io/v1" },
                        "metadata": {"resourceVersion": version.to_string()},
                    });
                    let text = lines.concat() + &line("BOOKMARK", &bookmark);
                    return Some((Ok(text), (receiver, version)));
                }
                receiver.changed().await.ok()?;
            }
        }
    })
}
