//! Canaries: secrets and personal data are planted wherever callers can put them, and looked for wherever
//! the platform writes something down.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use mainstay::contract::operations::proto::{GetDeadLetterRequest, ListDeadLettersRequest};
use mainstay::contract::operations::{GrpcOperationsClient, OPERATOR, OperationsClient as _};
use mainstay::contract::proto::mainstay::auth::v1::AccountRegistered;
use mainstay::contract::{audit, auth, authz, billing, identity};
use mainstay::kernel::events::Envelope;
use mainstay_testing::{Platform, binary, command, eventually};
use prost::{Message as _, Name as _};
use serde_json::{Value, json};

use crate::telemetry::collector::Collector;

const SERVICES: [&str; 6] =
    ["gateway", auth::SERVICE, identity::SERVICE, authz::SERVICE, audit::SERVICE, billing::SERVICE];

const EMAIL: &str = "canary-mail-7141@mainstay.test";
const NAME: &str = "Canary Displayname 2718";
const PASSWORD: &str = "canary-password-3141592";
const WRONG_PASSWORD: &str = "canary-wrongword-1618033";
const COOKIE: &str = "canary-cookie-577215";
const BEARER: &str = "canary-bearer-662607";
const API_KEY: &str = "canary-apikey-299792";
const QUERY: &str = "canary-query-602214";
/// In base64, as some keys have to be.
const SETTING: &str = "canarySettingKey0123456789abcdefghijklmnopqrstuv";

#[tokio::test]
async fn what_is_secret_or_personal_is_found_nowhere() {
    let collector = Collector::start().await;
    // As in production: a process is told where its secrets lie, not what they are.
    let mut secret_file = tempfile::NamedTempFile::new().unwrap();
    secret_file.write_all(SETTING.as_bytes()).unwrap();
    let secret_file = secret_file.path().to_str().unwrap();
    let variables = [
        ("MAINSTAY_TELEMETRY__OTLP_ENDPOINT", &*collector.endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("MAINSTAY_TELEMETRY__LOG_FILTER", "debug"),
        ("MAINSTAY_TELEMETRY__LOG_BURST", "0"),
        ("MAINSTAY_TELEMETRY__SUBJECT_KEY_FILE", secret_file),
        ("MAINSTAY_GATEWAY__CURSOR_KEY_FILE", secret_file),
        ("MAINSTAY_AUDIT__CHECKPOINT_KEY_FILE", secret_file),
        ("MAINSTAY_EVENTS__MAX_ATTEMPTS", "2"),
    ];
    let mut platform = Platform::start_with(&variables).await;
    let planted = plant(&platform).await;
    let letter = dead_letter(&platform).await;
    eventually("spans of the calls and of what consumers did", async || {
        let spans = collector.all();
        (spans.contains("handle event") && spans.contains("AuthService/Login")).then_some(())
    })
    .await;

    let mut told: BTreeMap<String, String> = BTreeMap::new();
    for service in SERVICES {
        let admin = platform.admin_port(service);
        told.insert(format!("the log of {service}"), platform.logs(service));
        for page in ["/metrics", "/admin/settings", "/admin/tasks", "/readyz"] {
            told.insert(format!("{page} of {service}"), admin.get(page).await.text());
        }
    }
    for (service, process) in platform.process_ids() {
        told.insert(format!("the environment of {service}"), environment(process.unwrap()));
    }
    told.insert("the dead letter".into(), letter);
    told.insert("the traces".into(), collector.all());
    told.insert("error replies".into(), planted.error_replies.clone());
    told.insert("--print-settings".into(), printed_settings(platform.path()));
    let access = &told["the log of gateway"];
    assert!(access.contains("\"subject\":\""), "the access log names a hashed subject");

    let secrets: Vec<&str> = planted.tokens.iter().map(String::as_str).collect();
    let secrets =
        [&secrets[..], &[PASSWORD, WRONG_PASSWORD, COOKIE, BEARER, API_KEY, SETTING]].concat();
    let personal = [EMAIL, NAME, QUERY, &planted.user_id];
    let mut found = Vec::new();
    for (place, text) in &told {
        for canary in secrets.iter().chain(&personal) {
            // An error tells its caller what it said itself, and about whom.
            if place == "error replies" && personal.contains(canary) {
                continue;
            }
            let lines = text.lines().filter(|line| line.contains(canary)).take(2);
            found.extend(lines.map(|line| format!("{canary} in {place}: {line}")));
        }
    }
    // What lies on the disk, the broker among it: people's data has to, secrets need not.
    for file in files(platform.path()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let holds =
            |canary: &str| bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
        let canaries = secrets.iter().filter(|canary| holds(canary));
        found.extend(canaries.map(|canary| format!("{canary} in {}", file.display())));
    }
    assert!(found.is_empty(), "{} canaries:\n{}", found.len(), found.join("\n"));
}

/// What the platform was given, and what it gave.
struct Planted {
    tokens: Vec<String>,
    user_id: String,
    error_replies: String,
}

async fn plant(platform: &Platform) -> Planted {
    let rest = platform.rest();
    let account = json!({ "email": EMAIL, "password": PASSWORD, "display_name": NAME });
    rest.post("/api/v1/auth/register", account.clone()).await.data();
    let signed_in = platform.log_in(EMAIL, PASSWORD).await;
    let user = &signed_in.rest;
    let mut tokens = tokens_of(&signed_in.tokens);
    let refresh = json!({ "refresh_token": signed_in.tokens["refresh_token"] });
    let refreshed = rest.post("/api/v1/auth/refresh", refresh.clone()).await;
    tokens.extend(tokens_of(&refreshed.data()));

    // Everything that is refused is refused in words.
    let bearer = format!("Bearer {BEARER}");
    let headers = [
        ("cookie", COOKIE),
        ("authorization", &*bearer),
        ("x-api-key", API_KEY),
        ("content-type", "application/json"),
    ];
    let mut replies = vec![
        rest.post("/api/v1/auth/register", account).await,
        rest.post("/api/v1/auth/refresh", refresh).await,
        rest.post("/api/v1/auth/login", json!({ "email": EMAIL, "password": WRONG_PASSWORD }))
            .await,
        rest.post("/api/v1/auth/login", json!({ "email": 7, "password": PASSWORD })).await,
        rest.post("/api/v1/auth/login", json!({ "email": NAME, "password": { "is": PASSWORD } }))
            .await,
        user.get(&format!("/api/v1/users?filter={QUERY}")).await,
        user.get(&format!("/nothing/{QUERY}")).await,
    ];
    let broken = format!("{{\"email\": \"{EMAIL}\", \"password\": \"{PASSWORD}");
    for (method, path, body) in [
        (Method::GET, format!("/api/v1/users/me?access_token={BEARER}"), String::new()),
        (Method::POST, "/api/v1/auth/login".to_owned(), broken),
        (Method::POST, "/mainstay.auth.v1.AuthService/Login".to_owned(), PASSWORD.to_owned()),
    ] {
        replies.push(rest.send(method, &path, &headers, Bytes::from(body)).await);
    }
    let error_replies = replies.iter().map(|reply| reply.text() + "\n").collect();
    Planted { tokens, user_id: signed_in.id.clone(), error_replies }
}

/// An event that identity cannot take: another account with the address of the user who is there. What an
/// operator sees of it who has no reason to see more.
async fn dead_letter(platform: &Platform) -> String {
    let user_id = uuid::Uuid::now_v7().to_string();
    let registered = AccountRegistered {
        user_id: user_id.clone(),
        email: EMAIL.to_owned(),
        display_name: NAME.to_owned(),
        ..AccountRegistered::default()
    };
    let event = Envelope {
        id: uuid::Uuid::now_v7().to_string(),
        source: "/auth-svc".into(),
        r#type: AccountRegistered::full_name(),
        subject: user_id,
        time: Some(SystemTime::now().into()),
        topic: "auth.accounts".into(),
        data: registered.encode_to_vec(),
        ..Envelope::default()
    };
    platform.bus().publish(vec![event]).await.unwrap();
    // It finds the service for as long as it is there.
    let mesh = platform.client(OPERATOR);
    let operations = GrpcOperationsClient::new(mesh.channel(identity::SERVICE).unwrap());
    let listed = eventually("the event is given up", async || {
        let listed = operations.list_dead_letters(ListDeadLettersRequest::default()).await;
        // At first the service has not been found yet.
        listed.ok()?.dead_letters.first().cloned()
    })
    .await;
    let shown = operations.get_dead_letter(GetDeadLetterRequest { letter_id: listed.id.clone() });
    format!("{listed:?}\n{:?}", shown.await.unwrap())
}

/// With what a process was started: its variables and arguments.
fn environment(process: u32) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap();
    let environment = format!("{}\0{}", read("environ"), read("cmdline"));
    assert!(environment.contains("MAINSTAY_EVENTS__MAX_ATTEMPTS"), "{environment}");
    environment.replace('\0', "\n")
}

/// The tokens of a login, and of the one that is signed its signature too.
fn tokens_of(login: &Value) -> Vec<String> {
    let text = |name: &str| login[name].as_str().unwrap_or_default().to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    let signature = access.rsplit('.').next().unwrap_or_default().to_owned();
    assert!(signature.len() > 20 && refresh.len() > 20, "{login}");
    vec![access, signature, refresh]
}

/// What the binaries print of their settings.
fn printed_settings(folder: &Path) -> String {
    let printed = |name: &str, variables: &[(&str, &str)]| {
        let mut command = command(binary(name));
        command.current_dir(folder).arg("--print-settings");
        command.envs(variables.iter().copied()).env("MAINSTAY_TLS__MODE", "plaintext");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let url = format!("postgres://user:{SETTING}@db/name");
    let dsn = format!("https://{SETTING}@errors.example.com/1");
    let own = [
        ("MAINSTAY_GATEWAY__CURSOR_KEY", SETTING),
        ("MAINSTAY_TELEMETRY__SUBJECT_KEY", SETTING),
        ("MAINSTAY_TELEMETRY__REPORTER__DSN", &dsn),
        ("MAINSTAY_DATABASE__URL", &url),
    ];
    let auth = [
        ("MAINSTAY_AUTH__BOOTSTRAP_ADMIN_PASSWORD", PASSWORD),
        ("MAINSTAY_AUTH__BOOTSTRAP_ADMIN_EMAIL", "a@b.test"),
    ];
    printed("mainstay-gateway", &own) + &printed("auth-svc", &auth)
}

/// All files but those that the test itself has written.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files
}
