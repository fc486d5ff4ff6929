//! Where settings come from, and what is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay::kernel::settings::{
    Args, LogFormat, Secret, ServiceDefaults, ServiceSettings, Settings, TlsMode, Transport,
    load_from,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    pepper: Secret<String>,
    lanes: u32,
    names: Vec<String>,
    note_file: Option<PathBuf>,
}

impl Default for Sample {
    fn default() -> Self {
        Self { pepper: "default-pepper".into(), lanes: 2, names: Vec::new(), note_file: None }
    }
}

impl ServiceSettings for Sample {
    const SECTION: &'static str = "sample";

    fn validate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.lanes > 0, "sample.lanes must be 1 or more");
        Ok(())
    }
}

const DEFAULTS: ServiceDefaults = ServiceDefaults { name: "sample-svc", port: 8099 };
const PLAINTEXT: &str = "[tls]\nmode = \"plaintext\"\n";

struct Given {
    folder: tempfile::TempDir,
    file: String,
    environment: BTreeMap<String, String>,
}

/// Names and values.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// A file with these lines, and an environment with these variables.
fn given(file: &str, environment: Variables<'_>) -> Given {
    Given {
        folder: tempfile::tempdir().unwrap(),
        file: file.to_owned(),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

impl Given {
    fn load(&self) -> anyhow::Result<Settings<Sample>> {
        let path = self.path("settings.toml");
        std::fs::write(&path, &self.file).unwrap();
        let args = Args { settings: Some(path), ..Args::default() };
        load_from(&args, DEFAULTS, self.environment.clone())
    }

    fn refusal(&self) -> String {
        format!("{:#}", self.load().unwrap_err())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn defaults_follow_from_the_service() {
    let settings = given(PLAINTEXT, &[]).load().unwrap();
    assert_eq!(settings.kernel.listen.to_string(), "127.0.0.1:8099");
    assert_eq!(settings.kernel.admin_listen.to_string(), "127.0.0.1:18099");
    assert_eq!(
        settings.kernel.database.url.expose(),
        "sqlite://.mainstay/data/sample-svc.db?mode=rwc"
    );
    assert_eq!(settings.kernel.registry.path, Path::new(".mainstay/registry"));
    assert_eq!(settings.kernel.lifecycle.spread, Duration::from_millis(500));
    assert_eq!(settings.own.lanes, 2);
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let file = format!(
        "listen = \"127.0.0.1:9000\"\ndata_dir = \"/srv/data\"\n{PLAINTEXT}
        [telemetry]\nlog_format = \"text\"\nlog_filter = \"debug\"
        [channel]\ntransport = \"grpc-web\"\nconnect_timeout = \"750ms\"
        [sample]\nlanes = 3\n"
    );
    let settings = given(
        &file,
        &[
            ("MAINSTAY_TELEMETRY__LOG_FILTER", "warn"),
            ("MAINSTAY_DATABASE__MAX_CONNECTIONS", "4"),
            ("MAINSTAY_SAMPLE__NAMES", "[\"a\", \"b\"]"),
            ("MAINSTAY_SAMPLE__PEPPER", "12345"),
        ],
    );
    let Settings { kernel, own, .. } = settings.load().unwrap();
    assert_eq!(kernel.listen.port(), 9000);
    assert_eq!(kernel.admin_listen.port(), 19000, "the admin port follows the port stated");
    assert_eq!(kernel.database.url.expose(), "sqlite:///srv/data/sample-svc.db?mode=rwc");
    assert_eq!(kernel.database.max_connections, 4);
    assert_eq!(kernel.telemetry.log_format, LogFormat::Text);
    assert_eq!(kernel.telemetry.log_filter, "warn");
    assert_eq!(kernel.channel.transport, Transport::GrpcWeb);
    assert_eq!(kernel.channel.connect_timeout, Duration::from_millis(750));
    assert_eq!(kernel.tls.mode, TlsMode::Plaintext);
    assert_eq!((own.lanes, own.names), (3, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(own.pepper.expose(), "12345", "a secret of digits is text all the same");
}

#[test]
fn secrets_come_from_files_and_a_setting_may_end_in_file() {
    let mut given = given(PLAINTEXT, &[("MAINSTAY_SAMPLE__NOTE_FILE", "/notes.txt")]);
    let secret = given.path("pepper");
    std::fs::write(&secret, "from a file \n").unwrap();
    let path = secret.to_str().unwrap().to_owned();
    given.environment.insert("MAINSTAY_SAMPLE__PEPPER_FILE".into(), path.clone());
    given.environment.insert("MAINSTAY_DATABASE__URL_FILE".into(), path);
    let settings = given.load().unwrap();
    assert_eq!(settings.own.pepper.expose(), "from a file ", "only the line's end is cut off");
    assert_eq!(settings.kernel.database.url.expose(), "from a file ");
    assert_eq!(settings.own.note_file.as_deref(), Some(Path::new("/notes.txt")));

    given.environment.insert("MAINSTAY_SAMPLE__PEPPER".into(), "x".into());
    assert!(given.refusal().contains("sample.pepper is given twice"));
    given.environment.remove("MAINSTAY_SAMPLE__PEPPER");
    std::fs::remove_file(secret).unwrap();
    let refusal = given.refusal();
    assert!(refusal.contains("cannot be read") && refusal.contains("_FILE"), "{refusal}");
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let given = given(&format!("{PLAINTEXT}[sample]\nlanes = 7\n"), &[]);
    given.load().unwrap();
    let path = given.path("settings.toml").to_str().unwrap().to_owned();
    let environment = BTreeMap::from([("MAINSTAY_SETTINGS".to_owned(), path)]);
    let settings: Settings<Sample> = load_from(&Args::default(), DEFAULTS, environment).unwrap();
    assert_eq!(settings.own.lanes, 7);
}

#[test]
fn faults_name_the_setting_and_where_it_came_from() {
    let cases: &[(&str, Variables<'_>, &[&str])] = &[
        ("lisen = 1", &[], &["unknown setting lisen", "settings.toml", "`listen`"]),
        (
            "[database]\nmax_conections = 1",
            &[],
            &["unknown setting database.max_conections", "settings.toml", "`max_connections`"],
        ),
        ("[sample]\nlane = 1", &[], &["unknown setting sample.lane", "settings.toml", "`lanes`"]),
        ("[smaple]\nlanes = 1", &[], &["unknown setting smaple", "settings.toml"]),
        (
            "",
            &[("MAINSTAY_TLS__MODUS", "mtls")],
            &["unknown setting tls.modus", "environment variable MAINSTAY_TLS__MODUS", "`mode`"],
        ),
        ("", &[("MAINSTAY_SAMPLE__FOO_FILE", "/x")], &["unknown setting sample.foo_file"]),
        ("", &[("MAINSTAY_SAMPLE____X", "1")], &["MAINSTAY_SAMPLE____X names no setting"]),
        (
            "[database]\nmax_connections = \"many\"",
            &[],
            &["setting database.max_connections", "settings.toml", "expected an integer", "many"],
        ),
        (
            "",
            &[("MAINSTAY_SAMPLE__LANES", "-1")],
            &["setting sample.lanes", "environment variable MAINSTAY_SAMPLE__LANES"],
        ),
        ("listen = \"8080\"", &[], &["setting listen", "settings.toml"]),
        ("[channel]\nconnect_timeout = 5", &[], &["setting channel.connect_timeout"]),
        ("[channel]\ntransport = \"http\"", &[], &["setting channel.transport", "http"]),
        ("sample = 1", &[], &["sample must be a table"]),
        ("listen = [", &[], &["settings.toml"]),
    ];
    for (file, environment, expected) in cases {
        let refusal = given(file, environment).refusal();
        for part in *expected {
            assert!(refusal.contains(part), "{file:?} {environment:?}: {refusal}");
        }
    }
}

#[test]
fn what_is_insecure_or_cannot_work_is_refused_with_the_mend() {
    let cases = [
        ("", "tls.mode is mtls and tls.ca_file is not set: set tls.ca_file"),
        ("[tls]\nca_file = \"/no/such/file\"", "tls.ca_file /no/such/file cannot be read"),
        (
            "listen = \"0.0.0.0:80\"\n[tls]\nmode = \"plaintext\"",
            "is no loopback address, so that anybody could pose as any service",
        ),
        ("advertise = \"nowhere\"\n[tls]\nmode = \"plaintext\"", "must be host:port"),
        (
            "listen = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:1\"\n[tls]\nmode = \"plaintext\"",
            "give admin_listen another port",
        ),
        ("listen = \"127.0.0.1:60000\"\n[tls]\nmode = \"plaintext\"", "set admin_listen"),
        (
            "[tls]\nmode = \"plaintext\"\n[database]\nmax_connections = 0",
            "database.max_connections must be 1 or more",
        ),
        (
            "[tls]\nmode = \"plaintext\"\n[channel]\nretry_budget = 1.5",
            "channel.retry_budget 1.5 must be between 0 and 1",
        ),
        (
            "[tls]\nmode = \"plaintext\"\n[lifecycle]\nspread = \"1m\"",
            "lifecycle.spread must be shorter than lifecycle.drain_deadline",
        ),
        (
            "[tls]\nmode = \"plaintext\"\n[telemetry]\notlp_endpoint = \"collector\"",
            "telemetry.otlp_endpoint collector is no address",
        ),
        (
            "[tls]\nmode = \"plaintext\"\n[telemetry]\ntrace_ratio = 1.5",
            "telemetry.trace_ratio is 1.5: say 0 to 1",
        ),
        ("[tls]\nmode = \"plaintext\"\n[sample]\nlanes = 0", "sample.lanes must be 1 or more"),
    ];
    for (file, expected) in cases {
        let refusal = given(file, &[]).refusal();
        assert!(refusal.contains(expected), "{file:?}: {refusal}");
    }
}

#[test]
fn printed_settings_hide_secrets_and_can_be_read_back() {
    let file = format!("{PLAINTEXT}[database]\nurl = \"sqlite:///hidden/x.db\"\n");
    let settings = given(&file, &[("MAINSTAY_SAMPLE__PEPPER", "hunter2")]).load().unwrap();
    let args = Args { print_settings: true, ..Args::default() };
    let printed = args.answer(&settings).unwrap().unwrap();
    assert!(!printed.contains("hunter2") && !printed.contains("hidden"), "{printed}");
    assert!(printed.contains("[sample]") && printed.contains("pepper = \"[redacted]\""));
    assert!(printed.contains("spread = \"500ms\"") && printed.contains("transport = \"grpc\""));
    let again = given(&printed, &[]).load().unwrap();
    assert_eq!(again.to_toml().unwrap(), printed);

    let check = Args { check: true, ..Args::default() };
    assert_eq!(check.answer(&settings).unwrap().unwrap(), "the settings are sound");
    assert_eq!(Args::default().answer(&settings).unwrap(), None);
}
