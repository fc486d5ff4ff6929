//! Uploads: in pieces, and as forms.

use bytes::Bytes;
use http::Method;
use mainstay_testing::Reply;
use serde_json::json;

use crate::errors::refusal;
use crate::feed::Feed;
use crate::world::World;

const BOUNDARY: &str = "multipart/form-data; boundary=cut";

async fn post(world: &World, path: &str, media_type: &str, body: impl Into<Bytes>) -> Reply {
    let headers = [("content-type", media_type)];
    world.rest().send(Method::POST, path, &headers, body.into()).await
}

/// A form: the head of each part beside its content.
fn form(parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().map(|(head, content)| {
        format!("--cut\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    });
    parts.collect::<String>() + "--cut--\r\n"
}

#[tokio::test]
async fn an_upload_is_sent_in_pieces_as_it_arrives() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let file = vec![7_u8; 200_000];
    let reply = post(&world, "/api/v1/files/big.bin", "image/png", file).await.data();
    assert_eq!(reply["total"], "200000");
    assert!(reply["count"].as_i64().unwrap() >= 4, "{reply}");
    assert!(reply["largest"].as_str().unwrap().parse::<usize>().unwrap() <= 65_536, "{reply}");
    assert_eq!((&reply["name"], &reply["content_type"]), (&json!("big.bin"), &json!("image/png")));
    let empty = post(&world, "/api/v1/files/empty", "text/plain", "").await.data();
    assert_eq!((&empty["count"], &empty["total"]), (&json!(1), &json!("0")));
}

#[tokio::test]
async fn an_upload_has_a_limit_for_all_of_it() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let announced = post(&world, "/api/v1/files/x", "image/png", vec![0; 300_001]).await;
    assert_eq!(refusal(&announced, 413), "PAYLOAD_TOO_LARGE");
    let pieces = (0..5).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 100_000])));
    let body = axum::body::Body::from_stream(futures::stream::iter(pieces));
    let uri = format!("http://{}/api/v1/files/x", world.gateway.local_addr());
    let request = http::Request::post(uri).header("content-type", "image/png").body(body).unwrap();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let reply = client.build_http::<axum::body::Body>().request(request).await.unwrap();
    assert_eq!(reply.status(), 413, "also where the length is not announced");
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_form_fills_fields_and_its_file_is_the_body() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let file = "name=\"file\"; filename=\"a.csv\"\r\nContent-Type: text/csv";
    let sent = form(&[
        ("name=\"tags\"", "one"),
        (file, "a,b"),
        ("name=\"tags\"", "two"),
        ("name=\"readings\"", "3"),
    ]);
    let attached = post(&world, "/api/v1/attachments/x", BOUNDARY, sent.clone()).await.data();
    let attachment = &attached["attachment"];
    assert_eq!((&attachment["name"], &attachment["readings"]), (&json!("x"), &json!(3)));
    assert_eq!(attachment["tags"], json!(["one", "two"]));
    assert_eq!(attachment["content"]["content_type"], "text/csv");
    assert_eq!(attachment["content"]["data"], "YSxi");
    let attached = post(&world, "/api/v1/raw-attachments/x", BOUNDARY, sent).await.data();
    let attachment = &attached["attachment"];
    assert_eq!((&attachment["data"], &attachment["tags"][1]), (&json!("YSxi"), &json!("two")));

    let rows = [
        (form(&[("name=\"tags\"", "one")]), "no part with a file name"),
        (form(&[(file, "a"), (file, "b")]), "more than one file"),
        (form(&[(file, "a"), ("name=\"colour\"", "b")]), "colour"),
        (form(&[(file, "a"), ("name=\"name\"", "y")]), "name"),
        (form(&[(file, "a"), ("name=\"readings\"", "many")]), "readings"),
        ("--cut\r\nnonsense".to_owned(), "no form"),
    ];
    for (body, what) in rows {
        let reply = post(&world, "/api/v1/attachments/x", BOUNDARY, body).await;
        assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT", "{what}");
        assert!(reply.text().contains(what), "{what}: {}", reply.text());
    }
    let large = form(&[(file, &"x".repeat(5000))]);
    let reply = post(&world, "/api/v1/attachments/x", BOUNDARY, large).await;
    assert_eq!(refusal(&reply, 413), "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn the_file_of_a_form_is_one_of_a_oneof_too() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let (file, url) = ("name=\"file\"; filename=\"a.png\"", ("name=\"picture_url\"", "x"));
    let path = "/api/v1/pictures/x";
    for picture in ["", "png"] {
        let alone = form(&[(file, picture)]);
        let attached = post(&world, path, BOUNDARY, alone.clone()).await.data();
        assert!(attached["attachment"]["picture"].is_string(), "{attached}");
        let beside = post(&world, path, BOUNDARY, form(&[url, (file, picture)])).await;
        let in_query = post(&world, &format!("{path}?picture_url=x"), BOUNDARY, alone).await;
        for reply in [beside, in_query] {
            assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT");
            assert_eq!(reply.json()["error"]["details"][0]["field"], "picture_url");
        }
    }
}

#[tokio::test]
async fn the_texts_of_a_form_are_utf_8_or_refused() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let file = ("name=\"file\"; filename=\"a\"", "a");
    // Each tilde of a form is these bytes.
    let with = |form: String, bytes: &[u8]| -> Vec<u8> {
        form.split('~').map(str::as_bytes).collect::<Vec<_>>().join(bytes)
    };
    let latin = "name=\"tags\"\r\nContent-Type: text/plain; charset=ISO-8859-1";
    let wide = "name=\"tags\"\r\nContent-Type: text/plain; charset=UTF-16LE";
    let rows: [(&str, &str, &[u8], Option<&str>); 10] = [
        ("name=\"tags\"", "~", b"caf\xc3\xa9", Some("café")),
        ("name=\"tags\"", "~", b"\xef\xbb\xbfx", Some("\u{feff}x")),
        ("name=\"tags\"", "~", b"caf\xe9", None),
        ("name=\"tags\"", "~", b"\xff\xfe\x41\x00", None),
        (latin, "~", b"cafe", Some("cafe")),
        (latin, "~", b"caf\xe9", None),
        (wide, "~", b"\x41\x00", None),
        ("name=\"_charset_\"", "~", b"Utf-8", Some("")),
        ("name=\"_charset_\"", "~", b"iso-8859-1", None),
        ("name=\"_charset_\"", "~", b"\xff", None),
    ];
    for (head, content, bytes, wanted) in rows {
        let sent = with(form(&[(head, content), file]), bytes);
        let reply = post(&world, "/api/v1/attachments/x", BOUNDARY, sent.clone()).await;
        match wanted {
            Some(text) => {
                let attachment = reply.data()["attachment"].clone();
                let tags = if text.is_empty() { json!([]) } else { json!([text]) };
                assert_eq!(attachment["tags"], tags, "{bytes:?}");
                assert_eq!(attachment["content"]["content_type"], "text/plain", "by default");
            }
            None => {
                let name = head.split('"').nth(1).unwrap();
                assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT", "{bytes:?}");
                assert_eq!(reply.json()["error"]["details"][0]["field"], name, "{bytes:?}");
                let streamed = post(&world, "/api/v1/files/x", BOUNDARY, sent).await;
                assert_eq!(refusal(&streamed, 400), "INVALID_ARGUMENT", "{bytes:?}");
            }
        }
    }
    let label = ("name=\"label\"", "of 2026");
    let sent = form(&[("name=\"_charset_\"", "UTF-8"), label, file]);
    let reply = post(&world, "/api/v1/files/x", BOUNDARY, sent).await.data();
    assert_eq!(
        (&reply["label"], &reply["content_type"]),
        (&json!("of 2026"), &json!("text/plain"))
    );
}

#[tokio::test]
async fn the_file_of_a_form_is_sent_in_pieces_too() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let file = "name=\"file\"; filename=\"a.csv\"\r\nContent-Type: text/csv";
    let label = ("name=\"label\"", "of 2026");
    let content = "x".repeat(200_000);
    let sent = form(&[label, (file, &content)]);
    let reply = post(&world, "/api/v1/files/big.csv", BOUNDARY, sent).await.data();
    assert_eq!(reply["total"], "200000");
    assert!(reply["count"].as_i64().unwrap() >= 4, "{reply}");
    assert!(reply["largest"].as_str().unwrap().parse::<usize>().unwrap() <= 65_536, "{reply}");
    let said = ["name", "content_type", "label"].map(|field| reply[field].as_str().unwrap());
    assert_eq!(said, ["big.csv", "text/csv", "of 2026"]);
    let empty = post(&world, "/api/v1/files/x", BOUNDARY, form(&[(file, "")])).await.data();
    assert_eq!((&empty["count"], &empty["total"]), (&json!(1), &json!("0")));

    let rows = [
        (form(&[label]), "no part with a file name"),
        (form(&[(file, "a"), (file, "b")]), "more than one file"),
        (form(&[(file, "a"), label]), "put the file last"),
        (form(&[("name=\"colour\"", "b"), (file, "a")]), "colour"),
        (form(&[("name=\"name\"", "y"), (file, "a")]), "name"),
        (form(&vec![label; 102]), "more than 100 parts"),
        ("--cut\r\nnonsense".to_owned(), "no form"),
        (form(&[(file, "a")]).replace("--cut--", ""), "no form"),
    ];
    for (body, what) in rows {
        let reply = post(&world, "/api/v1/files/x", BOUNDARY, body).await;
        assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT", "{what}");
        assert!(reply.text().contains(what), "{what}: {}", reply.text());
    }
    let large = form(&[(file, &"x".repeat(300_000))]);
    let pieces = [Ok::<_, std::io::Error>(Bytes::from(large))];
    let body = axum::body::Body::from_stream(futures::stream::iter(pieces));
    let uri = format!("http://{}/api/v1/files/x", world.gateway.local_addr());
    let request = http::Request::post(uri).header("content-type", BOUNDARY).body(body).unwrap();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let reply = client.build_http::<axum::body::Body>().request(request).await.unwrap();
    assert_eq!(reply.status(), 413, "the limit is for all of the form");
    feed.calls_under_way(0).await;
}
