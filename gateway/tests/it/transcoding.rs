//! JSON, paths and queries to messages and back.

use bytes::Bytes;
use http::Method;
use serde_json::{Value as Json, json};

use crate::world::{USER, World};

#[tokio::test]
async fn every_type_survives_the_way_there_and_back() {
    let world = World::new().await;
    let sent = json!({
        "text": "é\u{1F600}", "small_number": -5, "large_number": "9007199254740993",
        "unsigned_number": "18446744073709551615", "fraction": 0.5, "flag": true, "blob": "AP8=",
        "state": "STATE_LENT", "time": "2026-01-31T12:00:00.500Z", "span": "1.500s",
        "extra": { "a": [1, null, "x", { "b": false }] }, "wrapped": 7, "words": ["a", "b"],
        "counts": { "x": 1 }, "inner": { "text": "deep" }, "maybe": "", "left_hand": "l",
    });
    let echoed = world.rest().post("/api/v1/echo", sent.clone()).await.data();
    for (field, value) in sent.as_object().unwrap() {
        match field.as_str() {
            "inner" => assert_eq!(echoed["inner"]["text"], "deep"),
            "extra" => assert_eq!(echoed["extra"]["a"][3]["b"], false),
            _ => assert_eq!(&echoed[field], value, "{field}"),
        }
    }
}

#[tokio::test]
async fn a_reply_has_every_field_without_presence_and_snake_case_names() {
    let world = World::new().await;
    let reply = world.rest().post("/api/v1/echo", json!({})).await;
    let body = reply.expect(200);
    let data = &body["data"];
    assert_eq!(data["text"], "");
    assert_eq!(data["large_number"], "0");
    assert_eq!(data["state"], "STATE_UNSPECIFIED");
    assert_eq!(data["words"], json!([]));
    for absent in ["time", "inner", "maybe", "left_hand", "wrapped"] {
        assert!(data.get(absent).is_none(), "{absent} has presence and is not set");
    }
    assert_eq!(body["meta"]["request_id"], reply.header("x-request-id"));
}

#[tokio::test]
async fn one_field_of_the_reply_can_be_all_of_it() {
    let world = World::new().await;
    let rest = world.rest();
    let signed = rest.get("/api/v1/books/b1/signed").await;
    assert_eq!(signed.data()["title"], "Signed");
    assert_eq!(signed.header("etag"), "W/\"v1\"");
    assert_eq!(rest.get("/api/v1/books/b1/words").await.data(), json!(["new", "here"]));
    let picture = rest.get("/api/v1/books/b1/picture").await;
    assert_eq!(picture.header("content-type"), "image/png");
    assert_eq!(picture.body, Bytes::from_static(b"\x89PNG"));

    assert_eq!(rest.get("/api/v1/books/none/signed").await.data(), Json::Null);
    assert_eq!(rest.get("/api/v1/books/none/words").await.data(), json!([]));
    let none = rest.get("/api/v1/books/none/picture").await;
    assert_eq!(none.header("content-type"), "application/octet-stream");
    assert_eq!((none.status, none.body.len()), (200, 0));

    let document = rest.get("/openapi.json").await.expect(200);
    let content =
        |path: &str| document["paths"][path]["get"]["responses"]["200"]["content"].clone();
    assert!(content("/api/v1/books/{book_id}/picture").get("*/*").is_some());
    let words = content("/api/v1/books/{book_id}/words");
    assert_eq!(words["application/json"]["schema"]["properties"]["data"]["type"], "array");
}

#[tokio::test]
async fn both_spellings_are_accepted_and_null_is_absence() {
    let world = World::new().await;
    let sent = json!({ "smallNumber": "12", "largeNumber": 5.0, "leftHand": "l", "text": null });
    let echoed = world.rest().post("/api/v1/echo", sent).await.data();
    assert_eq!(echoed["small_number"], 12);
    assert_eq!(echoed["large_number"], "5");
    assert_eq!(echoed["left_hand"], "l");
    assert_eq!(echoed["text"], "");
}

#[tokio::test]
async fn what_is_wrong_in_a_body_is_named_and_nothing_is_called() {
    let world = World::new().await;
    let deep = format!("{}1{}", r#"{"inner":"#.repeat(101), "}".repeat(101));
    let rows: [(&[u8], &str, &str); 22] = [
        (br#"{"colour": 1}"#, "INVALID_ARGUMENT", "colour"),
        (br#"{"inner": {"colour": 1}}"#, "INVALID_ARGUMENT", "inner.colour"),
        (br#"{"text": 5}"#, "INVALID_ARGUMENT", "text"),
        (br#"{"inner": {"small_number": "x"}}"#, "INVALID_ARGUMENT", "inner.small_number"),
        (br#"{"inner": []}"#, "INVALID_ARGUMENT", "inner"),
        (br#"{"small_number": 3000000000}"#, "INVALID_ARGUMENT", "small_number"),
        (br#"{"flag": "true"}"#, "INVALID_ARGUMENT", "flag"),
        (br#"{"blob": "!"}"#, "INVALID_ARGUMENT", "blob"),
        (br#"{"state": "STATE_LOST"}"#, "INVALID_ARGUMENT", "state"),
        (br#"{"time": "yesterday"}"#, "INVALID_ARGUMENT", "time"),
        (br#"{"time": "2026-02-30T00:00:00Z"}"#, "INVALID_ARGUMENT", "time"),
        (br#"{"words": ["a", 5]}"#, "INVALID_ARGUMENT", "words[1]"),
        (br#"{"words": "a"}"#, "INVALID_ARGUMENT", "words"),
        (br#"{"counts": {"x": "y"}}"#, "INVALID_ARGUMENT", "counts"),
        (br#"{"left_hand": "l", "right_hand": "r"}"#, "INVALID_ARGUMENT", "hand"),
        (br#"{"text": "a", "text": "b"}"#, "INVALID_ARGUMENT", "text"),
        (br#"{"small_number": 1, "smallNumber": 1}"#, "INVALID_ARGUMENT", "small_number"),
        (br#"[]"#, "INVALID_ARGUMENT", "body"),
        (br#"{"text": "#, "MALFORMED_JSON", "text"),
        (br#"{"inner": {"text": "a" "b"}}"#, "MALFORMED_JSON", "inner"),
        (b"{\"text\": \"\xc3\x28\"}", "MALFORMED_JSON", "UTF-8"),
        (deep.as_bytes(), "INVALID_ARGUMENT", "inner.inner"),
    ];
    for (body, code, named) in rows {
        let shown = String::from_utf8_lossy(body);
        let json = [("content-type", "application/json")];
        let body = Bytes::copy_from_slice(body);
        let reply = world.rest().send(Method::POST, "/api/v1/echo", &json, body).await;
        assert_eq!(reply.error_code(400), code, "{shown}");
        assert!(reply.text().contains(named), "{shown}: {}", reply.text());
    }
    assert_eq!(world.call_count(), 0);
}

#[tokio::test]
async fn a_hundred_messages_in_one_another_go_there_and_back() {
    let world = World::new().await;
    let deep = (1..100).fold(json!({}), |inner, _| json!({ "inner": inner }));
    let echoed = world.rest().post("/api/v1/echo", deep).await.data();
    let levels = std::iter::successors(Some(&echoed), |message| message.get("inner"));
    assert_eq!(levels.count(), 100);
}

#[tokio::test]
async fn all_faults_of_a_body_are_told_at_once() {
    let world = World::new().await;
    let sent = json!({ "colour": 1, "text": 5, "flag": 1 });
    let error = world.rest().post("/api/v1/echo", sent).await.expect(400)["error"].clone();
    let fields: Vec<&Json> =
        error["details"].as_array().unwrap().iter().map(|one| &one["field"]).collect();
    assert_eq!(fields, ["colour", "flag", "text"]);
}

#[tokio::test]
async fn the_rules_of_the_contract_hold_before_any_call() {
    let world = World::new().await;
    let reply = world.rest().post("/api/v1/echo", json!({ "text": "x".repeat(101) })).await;
    assert_eq!(reply.error_code(400), "INVALID_ARGUMENT");
    assert_eq!(reply.json()["error"]["details"][0]["field"], "text");
    let path = format!("/api/v1/books/{}", "x".repeat(41));
    assert_eq!(world.rest().get(&path).await.error_code(400), "INVALID_ARGUMENT");
    assert_eq!(world.call_count(), 0);
}

#[tokio::test]
async fn paths_fill_fields_decoded() {
    let world = World::new().await;
    let rows = [
        ("/api/v1/books/b1", "b1"),
        ("/api/v1/books/a%20b", "a b"),
        ("/api/v1/books/a%2Fb", "a/b"),
        ("/api/v1/books/%C3%A9", "é"),
        ("/api/v1/books/a:b", "a:b"),
    ];
    for (path, id) in rows {
        assert_eq!(world.rest().get(path).await.data()["title"], id, "{path}");
    }
    let reply = world.rest().get("/api/v1/books/%ff").await;
    assert_eq!(reply.error_code(400), "INVALID_ARGUMENT");
    assert_eq!(reply.json()["error"]["details"][0]["field"], "book_id");
    world.rest().post("/api/v1/books/b9:archive", json!({})).await.expect(200);
    assert_eq!(world.last_call().request["name"], "books/b9");
}

#[tokio::test]
async fn queries_fill_the_other_fields() {
    let world = World::new().await;
    let path = "/api/v1/books?author_name=Ada+L%2E&states=STATE_LENT&states=1&filter.shelf=s1\
                &since=2026-01-01T00:00:00Z&includeTotal=true";
    world.rest().get(path).await.expect(200);
    let request = world.last_call().request;
    assert_eq!(request["author_name"], "Ada L.");
    assert_eq!(request["states"], json!(["STATE_LENT", "STATE_AVAILABLE"]));
    assert_eq!(request["filter"]["shelf"], "s1");
    assert_eq!(request["since"], "2026-01-01T00:00:00Z");
    assert_eq!(request["include_total"], true);
    world.rest().get("/api/v1/shelves/s7/books").await.expect(200);
    assert_eq!(world.last_call().request["filter"]["shelf"], "s7");
}

#[tokio::test]
async fn what_is_wrong_in_a_query_is_named() {
    let world = World::new().await;
    let rows = [
        ("/api/v1/books?colour=red", "colour"),
        ("/api/v1/books?filter.colour=red", "filter.colour"),
        ("/api/v1/books?filter=x", "filter"),
        ("/api/v1/books?page_size=many", "page_size"),
        ("/api/v1/books?page_size=1&page_size=2", "page_size"),
        ("/api/v1/books?page_size=201", "page_size"),
        ("/api/v1/books?page_token=x", "page_token"),
        ("/api/v1/books?states=STATE_LOST", "states"),
        ("/api/v1/books?since=now", "since"),
        ("/api/v1/books?author_name=%ff", "author_name"),
        ("/api/v1/books/b1?book_id=b2", "book_id"),
        ("/api/v1/shelves/s1/books?filter.shelf=s2", "filter.shelf"),
    ];
    for (path, named) in rows {
        let reply = world.rest().get(path).await;
        assert_eq!(reply.error_code(400), "INVALID_ARGUMENT", "{path}");
        assert_eq!(reply.json()["error"]["details"][0]["field"], named, "{path}");
    }
    let reply = world.rest().post("/api/v1/echo?text=x", json!({})).await;
    assert_eq!(reply.error_code(400), "INVALID_ARGUMENT", "a body of every field leaves none");
    assert_eq!(world.call_count(), 0);
}

#[tokio::test]
async fn a_body_cannot_say_again_what_the_path_says() {
    let world = World::new().await;
    let sent = json!({ "title": "T", "shelf": "s2" });
    let reply = world.as_user(USER).post("/api/v1/shelves/s1/books", sent).await;
    assert_eq!(reply.error_code(400), "INVALID_ARGUMENT");
    assert_eq!(reply.json()["error"]["details"][0]["field"], "shelf");
}

#[tokio::test]
async fn a_patch_changes_the_fields_that_its_body_has() {
    let world = World::new().await;
    let rest = world.as_user(USER);
    let sent = json!({ "title": "T", "authorName": null });
    rest.patch("/api/v1/books/b1", sent.clone()).await.expect(200);
    let request = world.last_call().request;
    assert_eq!(request["book_id"], "b1");
    assert_eq!(request["book"]["title"], "T");
    assert_eq!(request["update_mask"], "authorName,title");
    rest.patch("/api/v1/books/b1?update_mask=title,author_name", sent).await.expect(200);
    assert_eq!(world.last_call().request["update_mask"], "title,authorName");
    let reply = rest.patch("/api/v1/books/b1", json!({ "title": "x".repeat(21) })).await;
    reply.expect(400);
    assert_eq!(reply.json()["error"]["details"][0]["field"], "title", "as the caller sent it");
    let reply = rest.patch("/api/v1/books/b1", json!({ "colour": 1 })).await;
    assert_eq!(reply.expect(400)["error"]["details"][0]["field"], "colour");
}

#[tokio::test]
async fn a_header_that_the_contract_asks_for_arrives_and_the_etag_comes_back() {
    let world = World::new().await;
    let headers = [("if-match", "\"v0\""), ("content-type", "application/json")];
    let body = Bytes::from_static(br#"{"title": "T"}"#);
    let rest = world.as_user(USER);
    let reply = rest.send(Method::PATCH, "/api/v1/books/b1", &headers, body).await;
    reply.expect(200);
    assert_eq!(reply.header("etag"), "W/\"v1\"");
    assert_eq!(world.last_call().metadata["if-match"], "\"v0\"");
}

#[tokio::test]
async fn bytes_travel_unchanged_where_the_contract_says_so() {
    let world = World::new().await;
    let headers = [("content-type", "text/csv; charset=latin1")];
    let body = Bytes::from_static(b"a;\xff;\x00");
    let reply = world.rest().send(Method::POST, "/api/v1/uploads/x", &headers, body.clone()).await;
    assert_eq!((reply.status, &reply.body), (200, &body));
    assert_eq!(reply.header("content-type"), "text/csv; charset=latin1");
    assert_eq!(world.last_call().request["name"], "x");
}

#[tokio::test]
async fn plain_replies_have_no_envelope() {
    let world = World::new().await;
    let body = world.rest().get("/.well-known/library").await.expect(200);
    assert_eq!(body, json!({ "libraryTitle": "L", "home_page": "h" }));
}
