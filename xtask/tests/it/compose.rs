//! `deploy/compose.yaml` without Docker: what can be wrong in it and be seen without one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn yaml(file: &str) -> Value {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).expect("the file is there");
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).expect("YAML");
    value.apply_merge().expect("merges");
    serde_json::to_value(value).expect("JSON")
}

fn containers() -> BTreeMap<String, Value> {
    serde_json::from_value(yaml("compose.yaml")["services"].clone()).expect("services by name")
}

fn texts<'a>(container: &'a Value, key: &str) -> Vec<&'a str> {
    container[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn every_image_has_a_version() {
    for (name, container) in containers() {
        let image = container["image"].as_str().unwrap_or_default();
        let version = image.rsplit_once(':').map_or("", |(_, version)| version);
        let version = version.trim_start_matches('v');
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{name} runs {image}");
    }
}

#[test]
fn what_is_mounted_is_there() {
    let volumes = yaml("compose.yaml")["volumes"].clone();
    for (name, container) in containers() {
        for mount in texts(&container, "volumes") {
            let source = mount.split(':').next().unwrap_or_default();
            let is_there = match source.starts_with('.') {
                true => folder().join(source).exists() && mount.ends_with(":ro"),
                false => volumes.get(source).is_some(),
            };
            assert!(is_there, "{name} mounts {mount}");
        }
    }
}

#[test]
fn nothing_is_open_to_the_network() {
    for (name, container) in containers() {
        for port in texts(&container, "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name} opens {port}");
        }
    }
}

#[test]
fn every_service_is_there_with_its_image_and_its_own_ports() {
    let containers = containers();
    let dockerfile = std::fs::read_to_string(folder().join("../Dockerfile")).expect("a Dockerfile");
    let targets = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM base AS "));
    let mut listens = Vec::new();
    for target in targets.filter(|target| *target != "mainstayctl") {
        let container =
            containers.get(target).unwrap_or_else(|| panic!("no container is {target}"));
        assert_eq!(container["build"]["target"], target);
        assert_eq!(
            container["environment"]["MAINSTAY_TLS__CERT_FILE"],
            format!("/run/mainstay/{target}.crt")
        );
        listens.push(container["environment"]["MAINSTAY_LISTEN"].to_string());
        listens.push(container["environment"]["MAINSTAY_ADMIN_LISTEN"].to_string());
    }
    let count = listens.len();
    listens.sort();
    listens.dedup();
    assert!(count > 2 && listens.len() == count, "two listen at one address: {listens:?}");
}

/// With the settings that compose gives it, each binary would start.
#[test]
fn the_binaries_take_their_settings() {
    let secrets = tempfile::tempdir().expect("a folder");
    prepare(secrets.path());
    for (name, container) in containers().iter().filter(|(_, it)| it.get("build").is_some()) {
        let binary = if name == "gateway" { "mainstay-gateway" } else { name };
        let environment = container["environment"].as_object().expect("an environment");
        let mut command = Command::new(workspace_binary(binary));
        command.arg("--check").env_clear();
        for (key, value) in environment {
            let value = value.as_str().expect("a text");
            let value = value.replace("/run/mainstay", &secrets.path().to_string_lossy());
            let value = value.replace("${MAINSTAY_INFRA_PASSWORD}", "secret");
            let consul = value.starts_with("${MAINSTAY_CONSUL_TOKEN");
            command.env(key, if consul { "00000000-0000-4000-8000-000000000000" } else { &value });
        }
        let said = command.output().unwrap_or_else(|error| panic!("{binary}: {error}"));
        assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
    }
}

#[test]
fn secrets_are_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = prepare(folder.path());
    assert!(said.contains("admin@mainstay.local"), "{said}");
    assert_eq!(prepare(folder.path()), said, "the password is the one of before");
    let verified = Command::new("openssl")
        .current_dir(folder.path())
        .args(["verify", "-CAfile", "ca.crt", "gateway.crt", "auth-svc.crt", "operator.crt"])
        .output()
        .expect("openssl runs");
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn the_collectors_pipelines_are_made_of_what_is_defined() {
    let settings = yaml("observe/collector.yaml");
    let pipelines = settings["service"]["pipelines"].as_object().expect("pipelines");
    assert_eq!(pipelines.keys().collect::<Vec<_>>(), ["logs", "traces"]);
    for kind in ["receivers", "processors", "exporters"] {
        let defined: Vec<_> = settings[kind].as_object().expect("a table").keys().collect();
        let used: Vec<_> = pipelines.values().flat_map(|pipeline| texts(pipeline, kind)).collect();
        assert!(used.iter().all(|name| defined.iter().any(|it| it == name)), "{kind}: {used:?}");
        assert!(defined.iter().all(|name| used.contains(&name.as_str())), "{kind}: {defined:?}");
    }
}

/// A trace that is decided about before its call may have ended is dropped however slow the call was.
#[test]
fn the_collector_waits_longer_than_any_call_may_take() {
    let settings = yaml("observe/collector.yaml");
    let waits = settings["processors"]["tail_sampling"]["decision_wait"].as_str().expect("a text");
    let waits: u64 = waits.trim_end_matches('s').parse().expect("whole seconds");
    let deadlines = contracts().into_iter().flat_map(|contract| deadlines(&contract));
    let longest = deadlines.max().expect("contracts state deadlines");
    assert!(waits > longest, "it waits {waits} s, and a call may take {longest} s");
}

#[test]
fn the_collector_sends_to_containers_it_waits_for() {
    let containers = containers();
    let settings = yaml("observe/collector.yaml");
    for (name, exporter) in settings["exporters"].as_object().expect("a table") {
        let endpoint = exporter["endpoint"].as_str().expect("an endpoint");
        let host = endpoint.trim_start_matches("http://").split(':').next().unwrap_or_default();
        assert!(
            texts(&containers["collector"], "depends_on").contains(&host),
            "{name}: {endpoint}"
        );
    }
}

/// Grafana reads what listens on loopback, and each source leads to one that there is.
#[test]
fn grafanas_sources_are_there() {
    let sources = yaml("observe/grafana/datasources.yaml")["datasources"].clone();
    let sources = sources.as_array().expect("sources");
    let uids: Vec<_> = sources.iter().filter_map(|source| source["uid"].as_str()).collect();
    let containers = containers();
    for source in sources {
        let address = source["url"].as_str().expect("an address").trim_start_matches("http://");
        let port = address.rsplit(':').next().unwrap_or_default();
        let container = &containers[source["type"].as_str().expect("a type")];
        let is_open = texts(container, "ports").contains(&format!("{address}:{port}").as_str())
            || texts(container, "command").iter().any(|flag| flag.ends_with(address));
        assert!(is_open, "{} is not at {address}", source["name"]);
        let settings = source["jsonData"].to_string();
        let named = settings.split("\"datasourceUid\":\"").skip(1);
        let named = named.filter_map(|rest| rest.split('"').next());
        named.for_each(|uid| assert!(uids.contains(&uid), "{} leads to {uid}", source["name"]));
    }
}

/// Prometheus forgets what is older than it is told, and a panel that looks back farther shows less.
#[test]
fn prometheus_keeps_what_dashboards_look_back_at() {
    let containers = containers();
    let flags = texts(&containers["prometheus"], "command");
    let mut days = flags.iter().filter_map(|it| it.strip_prefix("--storage.tsdb.retention.time="));
    let kept: u64 = days.next().and_then(|it| it.strip_suffix('d')?.parse().ok()).expect("days");
    let boards = std::fs::read_dir(folder().join("../helm/dashboards")).expect("dashboards");
    for board in boards {
        let path = board.expect("a dashboard").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        let ranges = text.split('[').skip(1).filter_map(|rest| rest.split_once("d]"));
        let farthest = ranges.filter_map(|(days, _)| days.parse().ok()).max().unwrap_or(0_u64);
        assert!(farthest < kept, "{} looks back {farthest} days of {kept}", path.display());
    }
}

/// The text of every contract.
fn contracts() -> Vec<String> {
    let mut folders = vec![folder().join("../proto/mainstay")];
    let mut contracts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => contracts.push(std::fs::read_to_string(&path).expect("a contract")),
            }
        }
    }
    contracts
}

/// The deadlines that a contract states, in seconds.
fn deadlines(contract: &str) -> Vec<u64> {
    let stated = contract.split("deadline: { seconds: ").skip(1);
    stated.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
}

fn prepare(folder: &std::path::Path) -> String {
    let script = self::folder().join("compose/prepare.sh");
    let said = Command::new("sh").arg(script).arg(folder).output().expect("a shell");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// Binaries of the workspace lie beside xtask's own.
fn workspace_binary(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_xtask")).with_file_name(name)
}
