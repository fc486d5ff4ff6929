//! What every registry does, whatever it is made of.

use std::sync::Arc;
use std::time::Duration;

use mainstay::kernel::registry::{Instance, Registry, Snapshot};
use tokio::sync::watch::Receiver;

/// How long watchers may take to see a change.
const PATIENCE: Duration = Duration::from_secs(10);

/// An instance with everything stated.
pub(crate) fn instance(service: &str, id: &str, address: &str) -> Instance {
    Instance {
        id: id.to_owned(),
        service: service.to_owned(),
        address: address.to_owned(),
        version: "1.2.3".to_owned(),
        descriptor_hash: "abc".to_owned(),
        admin_address: "h:10001".to_owned(),
        zone: "north".to_owned(),
    }
}

/// The addresses at which a snapshot has a service.
pub(crate) fn addresses(snapshot: &Snapshot, service: &str) -> Vec<String> {
    let instances = snapshot.get(service).into_iter().flatten();
    instances.map(|instance| instance.address.clone()).collect()
}

/// Waits until the service is seen at these addresses and no others.
pub(crate) async fn sees(watch: &mut Receiver<Arc<Snapshot>>, service: &str, expected: &[&str]) {
    let waited = watch.wait_for(|snapshot| addresses(snapshot, service) == expected);
    let waited = tokio::time::timeout(PATIENCE, waited).await.map(drop);
    let seen = addresses(&watch.borrow(), service);
    assert!(waited.is_ok(), "never saw {expected:?} of {service}, but {seen:?}");
}

/// The contract of [`Registry`]; `open` makes another handle on the same registry.
pub(crate) async fn contract<R: Registry>(open: impl AsyncFn() -> R) {
    let (writer, reader) = (open().await, open().await);
    let mut watch = reader.watch();
    sees(&mut watch, "a-svc", &[]).await;

    let second = writer.register(instance("a-svc", "2", "h:2")).await.unwrap();
    let first = writer.register(instance("a-svc", "1", "h:1")).await.unwrap();
    let other = reader.register(instance("b-svc", "1", "h:3")).await.unwrap();
    sees(&mut watch, "a-svc", &["h:1", "h:2"]).await;
    sees(&mut watch, "b-svc", &["h:3"]).await;
    let seen = watch.borrow().get("a-svc").unwrap()[0].clone();
    assert_eq!(seen, instance("a-svc", "1", "h:1"), "nothing is lost on the way");

    let late = open().await.watch();
    assert_eq!(addresses(&late.borrow(), "a-svc"), ["h:1", "h:2"], "the state is there at once");

    second.deregister().await.unwrap();
    second.deregister().await.unwrap();
    sees(&mut watch, "a-svc", &["h:1"]).await;

    watch.mark_unchanged();
    let quiet = tokio::time::timeout(Duration::from_millis(300), watch.changed()).await;
    assert!(quiet.is_err(), "watchers wake for changes alone");

    first.deregister().await.unwrap();
    sees(&mut watch, "a-svc", &[]).await;
    assert!(!watch.borrow().contains_key("a-svc"), "a service without instances is absent");
    let again = writer.register(instance("a-svc", "1", "h:9")).await.unwrap();
    sees(&mut watch, "a-svc", &["h:9"]).await;

    for (service, id) in [("", "1"), ("a-svc", ""), ("../a", "1"), ("a-svc", "x/y"), (".a", "1")] {
        let refused = writer.register(instance(service, id, "h:1")).await;
        assert!(refused.is_err(), "took the service `{service}` with the id `{id}`");
    }
    again.deregister().await.unwrap();
    other.deregister().await.unwrap();
}
