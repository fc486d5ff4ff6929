//! Pages and cursors.

use serde_json::json;

use crate::errors::refusal;
use crate::world::{OTHER, USER, World};

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let world = World::new().await;
    let mut seen = Vec::new();
    let mut path = "/api/v1/books?page_size=2".to_owned();
    loop {
        let body = world.rest().get(&path).await.expect(200);
        let books = body["data"].as_array().unwrap().clone();
        seen.extend(books.iter().map(|book| book["id"].as_str().unwrap().to_owned()));
        assert!(body["meta"].get("total").is_none());
        match body["meta"].get("next_cursor") {
            Some(cursor) => {
                let cursor = cursor.as_str().unwrap();
                path = format!("/api/v1/books?page_size=2&cursor={cursor}");
            }
            None => break,
        }
    }
    assert_eq!(seen, ["b0", "b1", "b2", "b3", "b4"]);
}

#[tokio::test]
async fn the_total_is_told_when_asked() {
    let world = World::new().await;
    let body = world.rest().get("/api/v1/books?include_total=true").await.expect(200);
    assert_eq!(body["meta"]["total"], 5);
    assert_eq!(body["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_cursor_is_of_its_list_and_of_nothing_else() {
    let world = World::new().await;
    let cursor = async |path: &str| {
        let body = world.as_user(USER).get(path).await.expect(200);
        body["meta"]["next_cursor"].as_str().unwrap().to_owned()
    };
    let books = cursor("/api/v1/books?author_name=Ada").await;
    let mine = cursor("/api/v1/my-books").await;

    let fine = format!("/api/v1/books?author_name=Ada&page_size=1&cursor={books}");
    assert_eq!(
        world.rest().get(&fine).await.data(),
        json!([world.rest().get(&fine).await.data()[0]])
    );

    let mut tampered = books.clone().into_bytes();
    let last = tampered.len() - 1;
    tampered[last] = if tampered[last] == b'A' { b'Q' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    for path in [
        format!("/api/v1/books?author_name=Ada&cursor={tampered}"),
        "/api/v1/books?author_name=Ada&cursor=garbage".to_owned(),
        "/api/v1/books?author_name=Ada&cursor=2".to_owned(),
        format!("/api/v1/books?author_name=Bob&cursor={books}"),
        format!("/api/v1/books?cursor={books}"),
        format!("/api/v1/shelves/s1/books?author_name=Ada&cursor={books}"),
        format!("/api/v1/my-books?author_name=Ada&cursor={books}"),
    ] {
        let reply = world.as_user(USER).get(&path).await;
        assert_eq!(refusal(&reply, 400), "INVALID_CURSOR", "{path}");
        assert_eq!(reply.json()["error"]["details"][0]["field"], "cursor");
    }
    let mine = format!("/api/v1/my-books?cursor={mine}");
    world.as_user(USER).get(&mine).await.expect(200);
    assert_eq!(refusal(&world.as_user(OTHER).get(&mine).await, 400), "INVALID_CURSOR");
}
