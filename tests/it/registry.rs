//! The registries that need no server: what every one does, and what the directory survives.

#[path = "../suite/registry.rs"]
mod suite;

mod cluster;
mod kubernetes;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use mainstay::kernel::registry::{DirectoryRegistry, DirectoryTiming, Registry, StaticRegistry};

use crate::mesh::eventually;
use suite::{addresses, contract, instance, sees};

const TIMING: DirectoryTiming = DirectoryTiming {
    heartbeat: Duration::from_millis(100),
    time_to_live: Duration::from_millis(1500),
    poll: Duration::from_millis(20),
};

#[tokio::test]
async fn the_static_registry_keeps_the_contract() {
    let registry = StaticRegistry::new([]);
    contract(async || registry.clone()).await;
}

#[tokio::test]
async fn the_directory_registry_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract(async || DirectoryRegistry::open(folder.path(), TIMING).unwrap()).await;
}

#[tokio::test]
async fn an_instance_lives_as_long_as_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DirectoryRegistry::open(folder.path(), TIMING).unwrap();
    let mut watch = registry.watch();
    let registration = registry.register(instance("a-svc", "1", "h:1")).await.unwrap();
    sees(&mut watch, "a-svc", &["h:1"]).await;

    tokio::time::sleep(TIMING.time_to_live * 2).await;
    assert_eq!(addresses(&watch.borrow(), "a-svc"), ["h:1"], "heartbeats keep it");

    let entry = folder.path().join("a-svc/1.json");
    fs::remove_file(&entry).unwrap();
    eventually(async || entry.exists().then_some(())).await;
    sees(&mut watch, "a-svc", &["h:1"]).await;

    drop(registration);
    sees(&mut watch, "a-svc", &[]).await;
    assert!(entry.exists(), "it expired, nobody removed it");
}

#[tokio::test]
async fn what_is_not_an_entry_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let good = serde_json::to_vec(&instance("a-svc", "good", "h:1")).unwrap();
    let write = |path: &str, content: &[u8]| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("a-svc/good.json", &good);
    write("a-svc/half.json", &good[..good.len() / 2]);
    write("a-svc/empty.json", b"");
    write("a-svc/binary.json", &[0xff, 0xfe, 0x00]);
    write("a-svc/other-id.json", &good);
    write("a-svc/.good.tmp", &good);
    write("a-svc/good.txt", &good);
    write("b-svc/good.json", &good);
    write("file-instead-of-a-service", &good);
    write("a-svc/large.json", &vec![b' '; 100_000]);
    write("a-svc/stale.json", &serde_json::to_vec(&instance("a-svc", "stale", "h:2")).unwrap());
    age(&folder.path().join("a-svc/stale.json"), Duration::from_secs(3600));
    fs::create_dir(folder.path().join("a-svc/folder.json")).unwrap();

    let timing = DirectoryTiming { time_to_live: Duration::from_secs(60), ..TIMING };
    let registry = DirectoryRegistry::open(folder.path(), timing).unwrap();
    let mut watch = registry.watch();
    assert_eq!(addresses(&watch.borrow(), "a-svc"), ["h:1"]);
    assert_eq!(watch.borrow().len(), 1);

    fs::remove_dir_all(folder.path()).unwrap();
    sees(&mut watch, "a-svc", &[]).await;
    let registration = registry.register(instance("a-svc", "1", "h:3")).await.unwrap();
    sees(&mut watch, "a-svc", &["h:3"]).await;
    registration.deregister().await.unwrap();
}

#[tokio::test]
async fn readers_never_see_half_an_entry() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DirectoryRegistry::open(folder.path(), TIMING).unwrap();
    let watch = registry.watch();
    let mut last = None;
    for round in 0..50 {
        let entry = instance("a-svc", "1", &format!("h:{round}"));
        last = Some(registry.register(entry).await.unwrap());
    }
    eventually(async || (addresses(&watch.borrow(), "a-svc") == ["h:49"]).then_some(())).await;
    let left: Vec<_> = fs::read_dir(folder.path().join("a-svc")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing half-written is left behind");
    drop(last);
}

fn age(path: &Path, by: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
}
