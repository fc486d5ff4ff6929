//! What browsers are told: which pages may call, and what a reply is not to be taken for.

use bytes::Bytes;
use gateway::GatewaySettings;
use gateway::config::CorsGroup;
use http::Method;
use mainstay_testing::{Reply, eventually};

use crate::feed::Feed;
use crate::world::World;

const APP: &str = "https://app.example.com";
const PARTNER: &str = "https://partner.example.com";

async fn preflight(world: &World, path: &str, origin: &str) -> Reply {
    let headers = [("origin", origin), ("access-control-request-method", "POST")];
    world.rest().send(Method::OPTIONS, path, &headers, Bytes::new()).await
}

async fn allowed(world: &World, path: &str, origin: &str) -> String {
    preflight(world, path, origin).await.header("access-control-allow-origin").to_owned()
}

#[tokio::test]
async fn each_group_of_routes_has_its_own_pages() {
    let books = CorsGroup {
        prefix: "/api/v1/books".into(),
        origins: vec![PARTNER.into()],
        methods: vec!["GET".into()],
        headers: vec!["if-none-match".into()],
        ..CorsGroup::default()
    };
    let open = CorsGroup {
        prefix: "/.well-known".into(),
        origins: vec!["*".into()],
        ..CorsGroup::default()
    };
    let settings = GatewaySettings {
        cors_origins: vec![APP.into()],
        cors_groups: vec![books, open],
        ..GatewaySettings::default()
    };
    let world = World::with(settings).await;
    let rows = [
        ("/api/v1/echo", APP, APP),
        ("/api/v1/echo", PARTNER, ""),
        ("/api/v1/books/b1", PARTNER, PARTNER),
        ("/api/v1/books/b1", APP, ""),
        ("/api/v1/%62ooks/b1", PARTNER, PARTNER),
        ("/api/v1/%62ooks/b1", APP, ""),
        ("/.well-known/library", "https://anybody.example", "*"),
        ("/nothing", APP, APP),
    ];
    for (path, origin, expected) in rows {
        let reply = preflight(&world, path, origin).await;
        assert_eq!(reply.status, 204, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), expected, "{path} {origin}");
        assert_eq!(reply.header("access-control-allow-credentials"), "", "never");
        assert_eq!(reply.header("vary").contains("origin"), expected != "*", "{path}");
    }
    let reply = preflight(&world, "/api/v1/books", PARTNER).await;
    assert_eq!(reply.header("access-control-allow-methods"), "GET");
    assert_eq!(reply.header("access-control-allow-headers"), "if-none-match");
    let reply = preflight(&world, "/api/v1/echo", APP).await;
    assert!(reply.header("access-control-allow-headers").contains("idempotency-key"));
    let origin = [("origin", PARTNER)];
    let reply = world.rest().send(Method::GET, "/api/v1/books/b1", &origin, Bytes::new()).await;
    assert_eq!(reply.header("access-control-allow-origin"), PARTNER);
    assert!(reply.header("access-control-expose-headers").contains("etag"));
}

#[tokio::test]
async fn a_page_reads_the_headers_that_the_contract_declares() {
    let settings = GatewaySettings { cors_origins: vec![APP.into()], ..GatewaySettings::default() };
    let world = World::with(settings).await;
    let _feed = Feed::start(&world).await;
    let exposed = async |path: &str, origin: &str| {
        let reply = world.rest().send(Method::GET, path, &[("origin", origin)], Bytes::new()).await;
        let exposed = reply.header("access-control-expose-headers").to_owned();
        exposed.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
    let item = exposed("/api/v1/items/x", APP).await;
    let stream = exposed("/api/v1/feeds/fine", APP).await;
    for names in [item, stream] {
        assert!(has(&names, "etag") && has(&names, "x-feed-version"), "{names:?}");
        assert!(has(&names, "x-feed-cost") && !has(&names, "x-feed-secret"), "{names:?}");
    }
    let connect = "/feed.v1.FeedService/GetItem?connect=v1&encoding=json&message=%7B%7D";
    let names = exposed(connect, APP).await;
    assert!(has(&names, "x-feed-version") && has(&names, "trailer-x-feed-cost"), "{names:?}");
    let names = exposed("/plain/feeds/fine", APP).await;
    assert!(has(&names, "etag") && !has(&names, "x-feed-version"), "it declares none: {names:?}");
    assert_eq!(exposed("/api/v1/items/x", PARTNER).await, [""], "pages that may not call");
}

#[tokio::test]
async fn pages_are_allowed_without_a_restart() {
    let file = |origin: &str| format!("[gateway]\ncors_origins = [\"{origin}\"]\n");
    let world = World::of_file(&file(APP)).await;
    assert_eq!(allowed(&world, "/api/v1/echo", APP).await, APP);
    world.write_settings(&file(PARTNER));
    eventually("the other page may call", async || {
        (allowed(&world, "/api/v1/echo", PARTNER).await == PARTNER).then_some(())
    })
    .await;
    assert_eq!(allowed(&world, "/api/v1/echo", APP).await, "");
    world.write_settings(
        &(file(PARTNER) + "security_headers = { x-frame-options = \"SAMEORIGIN\" }\n"),
    );
    eventually("the other header is sent", async || {
        let reply = world.rest().get("/nothing").await;
        (reply.header("x-frame-options") == "SAMEORIGIN").then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_reply_says_that_it_is_data() {
    let world = World::new().await;
    for path in ["/api/v1/books/b1", "/nothing", "/api/v1/inspect", "/openapi.json"] {
        let reply = world.rest().get(path).await;
        let rows = [
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("strict-transport-security", ""),
        ];
        for (name, value) in rows {
            assert_eq!(reply.header(name), value, "{path}");
        }
        assert!(reply.header("permissions-policy").contains("camera=()"), "{path}");
    }
    let page = world.rest().get("/docs").await;
    assert!(page.header("content-security-policy").contains("script-src"), "the page's own stays");
    let refused = preflight(&world, "/api/v1/echo", APP).await;
    assert_eq!(refused.header("x-frame-options"), "DENY");
}

#[tokio::test]
async fn headers_are_the_settings_to_change_and_tls_is_told_where_it_is() {
    let headers = [("x-frame-options", ""), ("cross-origin-resource-policy", "same-site")];
    let settings = GatewaySettings {
        trusted_hops: 1,
        security_headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
        ..GatewaySettings::default()
    };
    let world = World::with(settings).await;
    let reply = world.rest().get("/api/v1/books/b1").await;
    assert_eq!(reply.header("x-frame-options"), "");
    assert_eq!(reply.header("cross-origin-resource-policy"), "same-site");
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    for (scheme, expected) in [("https", "max-age=31536000; includeSubDomains"), ("http", "")] {
        let headers = [("x-forwarded-proto", scheme)];
        let reply =
            world.rest().send(Method::GET, "/api/v1/books/b1", &headers, Bytes::new()).await;
        assert_eq!(reply.header("strict-transport-security"), expected, "{scheme}");
    }
}
