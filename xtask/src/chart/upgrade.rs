//! An upgrade changes nothing that Kubernetes does not let be changed: it would be refused half-way.

use serde_json::{Value, json};

use super::NEWEST;
use super::helm::{Case, Helm};
use super::objects::{id, kind};
use super::parallel;

/// What cannot be changed once an object is there.
const FIXED: [(&str, &[&str]); 5] = [
    ("Deployment", &["/spec/selector"]),
    ("Job", &["/spec/selector", "/spec/template", "/spec/completions"]),
    ("RoleBinding", &["/roleRef"]),
    ("Secret", &["/type"]),
    ("Service", &["/spec/clusterIP"]),
];

/// Every fixed field that differs between this version and a later one with other resources.
pub(super) fn faults(helm: &Helm, cases: &[Case]) -> anyhow::Result<Vec<String>> {
    let later = json!({
        "image": {"tag": "99.0.0"},
        "defaults": {"resources": {"limits": {"memory": "600Mi"}}},
        "telemetry": {"logFilter": "debug"},
    });
    let same = json!({"defaults": {"resources": {"limits": {"memory": "600Mi"}}}});
    let found = parallel::map(cases, |case| {
        let before = helm.template(case, NEWEST)?;
        let mut faults = Vec::new();
        for values in [&later, &same] {
            let after = helm.template_with(case, NEWEST, values).map_err(anyhow::Error::msg)?;
            faults.extend(changes(&before, &after).map(|change| format!("{case}: {change}")));
        }
        Ok(faults)
    });
    let faults = found.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    Ok(faults.into_iter().flatten().collect())
}

fn changes<'a>(before: &'a [Value], after: &'a [Value]) -> impl Iterator<Item = String> + 'a {
    before.iter().flat_map(move |old| {
        let fixed = FIXED.iter().find(|(fixed, _)| *fixed == kind(old)).map(|(_, fields)| *fields);
        let new = after.iter().find(|new| id(new) == id(old));
        let changed =
            move |field: &&&str| new.is_some_and(|new| new.pointer(field) != old.pointer(field));
        let fields = fixed.unwrap_or_default().iter().filter(changed);
        fields.map(move |field| format!("an upgrade changes {field} of {}", id(old)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_is_changed_has_another_name() {
        let job = |name: &str, image: &str| {
            vec![json!({"kind": "Job", "metadata": {"name": name}, "spec": {"template": image}})]
        };
        let count = |after: &[Value]| changes(&job("a", "1"), after).count();
        assert_eq!(count(&job("a", "1")), 0);
        assert_eq!(count(&job("a", "2")), 1);
        assert_eq!(count(&job("b", "2")), 0);
    }
}
