//! The OpenAPI document and the explorer.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::world::World;

#[tokio::test]
async fn the_document_says_what_is_routed_now() {
    let world = World::new().await;
    let document = world.rest().get("/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let get = &document["paths"]["/api/v1/books/{book_id}"]["get"];
    assert_eq!(get["summary"], "Returns one book");
    assert_eq!(get["security"], serde_json::json!([]));
    let id = &get["parameters"][0];
    assert_eq!((&id["name"], &id["in"]), (&"book_id".into(), &"path".into()));
    assert_eq!(id["schema"]["maxLength"], 40);
    assert_eq!(id["description"], "Id of the book.");

    let create = &document["paths"]["/api/v1/shelves/{shelf}/books"]["post"];
    assert_eq!(create["security"][0]["bearer"], serde_json::json!([]));
    assert_eq!(create["x-permission"], "library.books.create");
    let body = &create["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["required"], serde_json::json!(["title"]));
    assert_eq!(body["properties"]["secret_word"]["writeOnly"], true);
    assert!(body["properties"].get("shelf").is_none(), "the path says it");
    for status in ["200", "400", "401", "403", "413", "415", "429", "503"] {
        assert!(create["responses"].get(status).is_some(), "{status}");
    }
    assert!(create["responses"]["200"]["headers"].get("RateLimit").is_some());

    let list = &document["paths"]["/api/v1/books"]["get"];
    let names: BTreeSet<&str> = list["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    let query =
        ["author_name", "cursor", "filter.shelf", "include_total", "page_size", "since", "states"];
    let headers = ["If-None-Match", "X-Request-Id", "X-Request-Timeout"];
    assert_eq!(names, query.into_iter().chain(headers).collect());
    let reply = &list["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(reply["properties"]["data"]["type"], "array");
    let book = &document["components"]["schemas"]["library.v1.Book"];
    assert_eq!(book["properties"]["author_name"]["description"], "Who wrote it.");
}

#[tokio::test]
async fn what_is_not_known_is_left_out_of_the_document() {
    let world = World::new().await;
    let document = world.rest().get("/openapi.json").await.expect(200);
    let update = &document["paths"]["/api/v1/books/{book_id}"]["patch"];
    let header = update["parameters"].as_array().unwrap().iter().find(|p| p["in"] == "header");
    assert_eq!(header.unwrap()["name"], "if-match");
    let mut waiting = vec![("#".to_owned(), &document)];
    while let Some((place, value)) = waiting.pop() {
        assert!(!value.is_null(), "{place} is null, which no schema of OpenAPI takes");
        match value {
            Json::Object(members) => waiting
                .extend(members.iter().map(|(name, value)| (format!("{place}/{name}"), value))),
            Json::Array(items) => waiting.extend(items.iter().map(|value| (place.clone(), value))),
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere_and_ids_are_unique() {
    let world = World::new().await;
    let document = world.rest().get("/openapi.json").await.expect(200);
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
        }
    }
}

#[tokio::test]
async fn the_explorer_is_one_page_that_runs_its_own_code_alone() {
    let world = World::new().await;
    let reply = world.rest().get("/docs").await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").starts_with("text/html"));
    let policy = reply.header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("script-src 'sha256-"), "{policy}");
}

fn collect(node: &Json, references: &mut Vec<String>) {
    match node {
        Json::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Json::as_str) {
                references.push(reference.to_owned());
            }
            fields.values().for_each(|value| collect(value, references));
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
