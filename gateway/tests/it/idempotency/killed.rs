//! A gateway that is killed between a call and its reply.

use std::net::SocketAddr;
use std::process::{Child, Stdio};

use mainstay_testing::{Rest, TestMesh, command, eventually, free_address};

use super::borrow;
use crate::errors::refusal;
use crate::world::{USER, World};

/// A gateway that is a process, with a data folder that outlives it.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(mesh: &TestMesh) -> Self {
        let [address, admin] = [(); 2].map(|()| free_address());
        let child = command(env!("CARGO_BIN_EXE_mainstay-gateway"))
            .envs(mesh.variables(gateway::SERVICE))
            .env("MAINSTAY_DATA_DIR", mesh.path().join("data-of-process"))
            // The story asks again and again until something shows.
            .env("MAINSTAY_GATEWAY__RATES__WRITE__DEFAULT", "60000/1m")
            .env("MAINSTAY_LISTEN", address.to_string())
            .env("MAINSTAY_ADMIN_LISTEN", admin.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address }
    }

    /// A client, once the gateway routes to the library.
    async fn client(&self, world: &World) -> Rest {
        let rest = Rest::new(self.address).with_bearer(&world.auth.token(USER, "free"));
        eventually("the process serves the library", async || {
            let none = bytes::Bytes::new();
            let path = "/api/v1/inspect";
            let reply = rest.try_send(http::Method::GET, path, &[], none).await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
        rest
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_was_answered_is_answered_again_and_what_was_not_never_happens_twice() {
    let world = World::new().await;
    let mut process = Process::start(&world.mesh);
    let ada = process.client(&world).await;
    let lent = borrow(&ada, "b1", "answered").await.data();
    let calls = world.call_count();
    let caller = ada.clone();
    let path = "/api/v1/books/never:borrow";
    let request = tokio::spawn(async move {
        let headers = [("content-type", "application/json"), ("idempotency-key", "unanswered")];
        let body = bytes::Bytes::from_static(b"{}");
        caller.try_send(http::Method::POST, path, &headers, body).await.map_err(|_| ())
    });
    eventually("it arrives", async || (world.call_count() == calls + 1).then_some(())).await;
    process.kill();
    assert!(request.await.unwrap().is_err(), "the caller hears nothing");

    let process = Process::start(&world.mesh);
    let ada = process.client(&world).await;
    let calls = world.call_count();
    let again = borrow(&ada, "b1", "answered").await;
    assert_eq!((again.data(), again.header("idempotency-replayed")), (lent, "true"));
    let early = refusal(&borrow(&ada, "never", "unanswered").await, 409);
    assert!(early.starts_with("IDEMPOTENCY_"), "{early}");
    eventually("its time is over", async || {
        let code = refusal(&borrow(&ada, "never", "unanswered").await, 409);
        (code == "IDEMPOTENCY_OUTCOME_UNKNOWN").then_some(())
    })
    .await;
    assert_eq!(world.call_count(), calls, "the service heard nothing of it");
}
