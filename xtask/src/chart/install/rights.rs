//! What the processes may ask of the API server, tried out with the tokens that their pods are given.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::release::Release;
use crate::chart::objects::{kind, list, name};

/// A namespace that is none of theirs.
const OTHER: &str = "default";

/// The account that every namespace has, and that is granted nothing.
const ANY_ACCOUNT: &str = "default";

const ALLOWED: u16 = 200;
const FORBIDDEN: u16 = 403;

/// What discovery reads: version of the interface, and resource.
const DISCOVERY: [(&str, &str); 2] =
    [("apis/discovery.k8s.io/v1", "endpointslices"), ("api/v1", "pods")];

/// What nobody may read.
const REFUSED: [(&str, &str); 4] = [
    ("api/v1", "secrets"),
    ("api/v1", "configmaps"),
    ("apis/apps/v1", "deployments"),
    ("apis/rbac.authorization.k8s.io/v1", "roles"),
];

/// Fails if a ServiceAccount of the chart may less than discovery needs, or more; nobody may anything
/// where processes are not found by Kubernetes. Returns how many there are.
pub(super) fn require(release: &Release<'_>, rendered: &[Value]) -> anyhow::Result<usize> {
    let discovers = rendered.iter().any(|object| kind(object) == "RoleBinding");
    let expected = if discovers { ALLOWED } else { FORBIDDEN };
    let accounts = rendered.iter().filter(|object| kind(object) == "ServiceAccount");
    let accounts: Vec<_> = accounts.map(name).collect();
    for (number, account) in accounts.iter().enumerate() {
        let api = release.api.by(&release.api.token(&release.namespace, account)?);
        let require = |path: &str, expected: u16| {
            let status = api.status(path)?;
            ensure!(status == expected, "{account} gets {status} for {path}, not {expected}");
            anyhow::Ok(())
        };
        for (version, resource) in DISCOVERY {
            let path = release.path(version, resource);
            require(&path, expected)?;
            // A watch takes its second, and all have the same Role.
            if number == 0 {
                require(&format!("{path}?watch=1&timeoutSeconds=1"), expected)?;
            }
            require(&format!("/{version}/namespaces/{OTHER}/{resource}"), FORBIDDEN)?;
            require(&format!("/{version}/{resource}"), FORBIDDEN)?;
        }
        for (version, resource) in REFUSED {
            require(&release.path(version, resource), FORBIDDEN)?;
        }
        require_only(release, account, discovers)?;
    }
    Ok(accounts.len())
}

/// Fails if an account may anything besides that any account may, and discovery: of what is granted
/// without being asked for here, the server itself knows best.
fn require_only(release: &Release<'_>, account: &str, discovers: bool) -> anyhow::Result<()> {
    let of_any = rules(release, ANY_ACCOUNT)?;
    let mut granted = rules(release, account)?;
    granted.retain(|rule| !of_any.contains(rule));
    let is_discovery = |rule: &Value| {
        let resources = list(rule, "/resources").iter().map(Value::as_str);
        let mut known = resources.map(|it| DISCOVERY.iter().any(|(_, own)| it == Some(*own)));
        let verbs = list(rule, "/verbs").iter().map(Value::as_str);
        let mut reads = verbs.map(|it| matches!(it, Some("list" | "watch")));
        known.all(|it| it) && reads.all(|it| it)
    };
    let more: Vec<_> = granted.iter().filter(|rule| !(discovers && is_discovery(rule))).collect();
    ensure!(more.is_empty(), "{account} may besides: {more:?}");
    Ok(())
}

fn rules(release: &Release<'_>, account: &str) -> anyhow::Result<Vec<Value>> {
    let api = release.api.by(&release.api.token(&release.namespace, account)?);
    let asked = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": release.namespace},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let review = api.create(path, &asked)?;
    let rules = review.pointer("/status/resourceRules").and_then(Value::as_array);
    rules.cloned().context("the server states no rules")
}
