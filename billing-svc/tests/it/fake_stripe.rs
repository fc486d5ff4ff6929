//! A server that answers as Stripe's API does, and signs reports as Stripe does.

use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::Sha256;

/// The secret that signs reports in these stories.
pub(crate) const SECRET: &str = "whsec_of_the_stories";

/// Stripe, as far as billing sees it.
#[derive(Clone)]
pub(crate) struct FakeStripe {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    down: Arc<std::sync::atomic::AtomicBool>,
}

/// A call that billing made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) line: String,
    pub(crate) form: Vec<(String, String)>,
    pub(crate) authorization: String,
}

impl FakeStripe {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stripe = Self { url, calls: Arc::default(), down: Arc::default() };
        let serving = stripe.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stripe = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| stripe.clone().answer(request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // A client that hangs up is no fault of the story.
                    let _closed = connection.await;
                });
            }
        });
        stripe
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, std::sync::atomic::Ordering::SeqCst);
    }

    async fn answer(
        self,
        request: http::Request<hyper::body::Incoming>,
    ) -> Result<http::Response<Full<bytes::Bytes>>, std::convert::Infallible> {
        let line = format!("{} {}", request.method(), request.uri().path());
        let authorization =
            request.headers()[http::header::AUTHORIZATION].to_str().unwrap().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let form = url::form_urlencoded::parse(&body).into_owned().collect();
        self.calls.lock().unwrap().push(Call { line: line.clone(), form, authorization });
        let (status, reply) = match line.as_str() {
            _ if self.down.load(std::sync::atomic::Ordering::SeqCst) => (500, "{}"),
            "POST /v1/checkout/sessions" => {
                (200, r#"{"id":"cs_1","url":"https://checkout.stripe.test/cs_1"}"#)
            }
            "POST /v1/subscriptions/sub_1" | "DELETE /v1/subscriptions/sub_1" => {
                (200, r#"{"id":"sub_1"}"#)
            }
            "POST /v1/checkout/sessions/cs_1/expire" => (200, r#"{"id":"cs_1"}"#),
            _ => (404, r#"{"error":{"message":"no such thing"}}"#),
        };
        let reply = Full::from(bytes::Bytes::from_static(reply.as_bytes()));
        Ok(http::Response::builder().status(status).body(reply).unwrap())
    }
}

/// The signature header of a report at a time in unix seconds.
pub(crate) fn signature(payload: &[u8], time: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(payload);
    format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
}
