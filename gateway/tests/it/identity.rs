//! What a service learns of a request, and from whom.

use bytes::Bytes;
use http::Method;
use serde_json::Value as Json;

use crate::world::{USER, World};

/// Every way to claim to be somebody.
const CLAIMS: [(&str, &str); 12] = [
    ("X-User-Id", "root"),
    ("x_user_id", "root"),
    ("X-USER-ID", "root2"),
    ("x-user-plan", "ai"),
    ("X-Session-Id", "s"),
    ("grpc-metadata-x-user-id", "root"),
    ("Grpc-Metadata-X-User-Plan", "ai"),
    ("x-forwarded-client-cert", "By=root"),
    ("grpc-timeout", "4S"),
    ("cookie", "user=root"),
    ("if-match", "v1"),
    ("x-custom", "1"),
];

async fn inspect(world: &World, token: Option<&str>, path: &str, headers: &[(&str, &str)]) -> Json {
    let rest = match token {
        Some(token) => world.rest().with_bearer(token),
        None => world.rest(),
    };
    let reply = rest.send(Method::GET, path, headers, Bytes::new()).await;
    reply.data()["metadata"].clone()
}

#[tokio::test]
async fn nothing_that_a_caller_claims_reaches_a_service() {
    let world = World::new().await;
    let metadata = inspect(&world, None, "/api/v1/inspect-anonymous", &CLAIMS).await;
    let text = metadata.to_string();
    for claimed in ["root", "By=", "\"ai\"", "x-custom", "cookie", "if-match", "grpc-metadata"] {
        assert!(!text.contains(claimed), "{claimed} arrived: {text}");
    }
    assert!(metadata.get("authorization").is_none());
    assert_eq!(world.last_call().user, None);

    let token = world.auth.token(USER, "paid");
    let metadata = inspect(&world, Some(&token), "/api/v1/inspect", &CLAIMS).await;
    assert!(!metadata.to_string().contains("root"));
    let user = world.last_call().user.unwrap();
    assert_eq!((user.id.as_str(), user.plan.as_str()), (USER, "paid"));
    assert_eq!(user.session_id, Some(format!("session-{USER}")));
    assert!(metadata.get("authorization").is_none(), "tokens stay at the edge");
}

#[tokio::test]
async fn a_request_id_is_kept_if_sound_and_reaches_the_service() {
    let world = World::new().await;
    let send = async |id: &str| {
        let headers = [("x-request-id", id)];
        let path = "/api/v1/inspect-anonymous";
        let reply = world.rest().send(Method::GET, path, &headers, Bytes::new()).await;
        let arrived = reply.data()["metadata"]["x-request-id"].clone();
        assert_eq!(arrived, reply.header("x-request-id"));
        arrived.as_str().unwrap().to_owned()
    };
    assert_eq!(send("my-id.7").await, "my-id.7");
    assert_ne!(send("my id").await, "my id");
    assert_ne!(send(&"x".repeat(129)).await, "x".repeat(129));
}

#[tokio::test]
async fn a_deadline_travels() {
    let world = World::new().await;
    let metadata = inspect(&world, None, "/api/v1/inspect-anonymous", &[]).await;
    assert!(metadata["grpc-timeout"].as_str().unwrap().ends_with(['u', 'm']), "{metadata}");
}
