//! What is left when a release is removed: exactly what it says that it keeps.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::Value;

use super::api::Api;
use super::release::Release;
use crate::chart::objects::{id, list, name, text};
use crate::chart::run::interrupt;

/// Controllers need a moment to take away what belonged to what was removed.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(500);

/// What every namespace has, and what only tells of the past.
const OF_ANYBODY: [&str; 2] = ["configmaps/kube-root-ca.crt", "serviceaccounts/default"];
const RECORDS: [&str; 1] = ["events"];

/// What has an object stay (`helm.sh/docs/howto/charts_tips_and_tricks`).
const POLICY: &str = "/metadata/annotations/helm.sh~1resource-policy";

/// Everything that a server has in namespaces: version of the interface, and resource.
pub(super) struct Resources(Vec<(String, String)>);

impl Resources {
    /// Asks the server which it has and can list.
    pub(super) fn of(api: &Api) -> anyhow::Result<Self> {
        let mut versions = vec!["api/v1".to_owned()];
        let groups = api.get("/apis")?;
        let preferred = list(&groups, "/groups").iter();
        versions.extend(
            preferred
                .map(|group| format!("apis/{}", text(group, "/preferredVersion/groupVersion"))),
        );
        let mut found = Vec::new();
        for version in versions {
            let described = api.get(&format!("/{version}"))?;
            let listed = list(&described, "/resources").iter().filter(|resource| {
                let verbs = list(resource, "/verbs");
                resource["namespaced"] == true && verbs.iter().any(|verb| verb == "list")
            });
            let listed = listed.filter(|it| !RECORDS.contains(&name_of(it)));
            found.extend(listed.map(|it| (version.clone(), name_of(it).to_owned())));
        }
        Ok(Self(found))
    }

    /// Fails if anything is in the namespace of a removed release but what was rendered to be kept.
    pub(super) fn require_only_kept(
        &self,
        release: &Release<'_>,
        rendered: &[Value],
    ) -> anyhow::Result<usize> {
        let kept = rendered.iter().filter(|object| text(object, POLICY) == "keep");
        let kept: BTreeSet<_> = kept.map(id).collect();
        let foreign: Vec<_> = kept.iter().filter(|it| !it.starts_with("Secret/")).collect();
        ensure!(foreign.is_empty(), "only Secrets are said to be kept: {foreign:?}");
        let expected: BTreeSet<_> =
            kept.iter().map(|object| object.replacen("Secret/", "secrets/", 1)).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.within(release)?;
            if found == expected {
                return Ok(found.len());
            }
            ensure!(
                Instant::now() < deadline,
                "a removed release should leave {expected:?} and leaves {found:?}"
            );
            interrupt::pause(POLL)?;
        }
    }

    fn within(&self, release: &Release<'_>) -> anyhow::Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for (version, resource) in &self.0 {
            let objects = release.api.list(&release.path(version, resource))?;
            found.extend(objects.iter().map(|object| format!("{resource}/{}", name(object))));
        }
        found.retain(|object| !OF_ANYBODY.contains(&object.as_str()));
        Ok(found)
    }
}

fn name_of(resource: &Value) -> &str {
    text(resource, "/name")
}
