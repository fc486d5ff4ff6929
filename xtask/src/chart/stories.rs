//! `helm/tests/stories.yaml`: what values lead to, and what they are refused with.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use super::NEWEST;
use super::helm::{Case, Helm};
use super::objects::id;
use super::parallel;

/// One story.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// What it tells.
    story: String,
    /// The file of values that it starts from.
    on: String,
    /// The version of Kubernetes; the newest when absent.
    kubernetes: Option<String>,
    /// Further values.
    #[serde(default)]
    values: Value,
    /// What the objects have then.
    #[serde(default)]
    expect: Vec<Expectation>,
    /// A part of the message with which the values are refused.
    refused: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    /// The object, such as `Deployment/mainstay-gateway`.
    object: String,
    /// A JSON pointer into it; empty for all of it.
    #[serde(default)]
    at: String,
    /// What is there; without it and without `contains` nothing may be.
    equals: Option<Value>,
    /// A part of the text that is there.
    contains: Option<String>,
}

/// Every story that goes otherwise than it is told.
pub(super) fn faults(helm: &Helm, root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join("helm/tests/stories.yaml");
    let text = std::fs::read_to_string(&path)?;
    let stories: Vec<Story> =
        serde_yaml_ng::from_str(&text).with_context(|| format!("{}", path.display()))?;
    let cases = Case::all(root)?;
    let told = parallel::map(&stories, |story| {
        let case = cases.iter().find(|case| case.name == story.on);
        let case = case.with_context(|| format!("{}: no values {}", story.story, story.on))?;
        let version = story.kubernetes.as_deref().unwrap_or(NEWEST);
        let found = outcome(story, helm.template_with(case, version, &story.values));
        let name = &story.story;
        Ok(found.into_iter().map(|fault| format!("{name}: {fault}")).collect::<Vec<_>>())
    });
    let faults = told.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    Ok(faults.into_iter().flatten().collect())
}

fn outcome(story: &Story, rendered: Result<Vec<Value>, String>) -> Vec<String> {
    match (&story.refused, rendered) {
        (Some(part), Err(message)) if message.contains(part) => Vec::new(),
        (Some(part), Err(message)) => vec![format!("refused without saying {part:?}:\n{message}")],
        (Some(part), Ok(_)) => vec![format!("not refused with {part:?}")],
        (None, Err(message)) => vec![format!("refused:\n{message}")],
        (None, Ok(_)) if story.expect.is_empty() => vec!["it expects nothing".to_owned()],
        (None, Ok(objects)) => story.expect.iter().filter_map(|it| it.fault(&objects)).collect(),
    }
}

impl Expectation {
    fn fault(&self, objects: &[Value]) -> Option<String> {
        let object = objects.iter().find(|object| id(object) == self.object);
        let found = object.and_then(|object| object.pointer(&self.at));
        let holds = match (&self.equals, &self.contains) {
            (Some(wanted), _) => found == Some(wanted),
            (None, Some(part)) => found.and_then(Value::as_str).is_some_and(|it| it.contains(part)),
            (None, None) => found.is_none(),
        };
        (!holds).then(|| format!("{}{} is {found:?}, not {self:?}", self.object, self.at))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(text: &str, rendered: Result<Vec<Value>, String>) -> Vec<String> {
        outcome(&serde_yaml_ng::from_str(text).unwrap(), rendered)
    }

    #[test]
    fn a_story_that_goes_otherwise_is_a_fault() {
        let objects = || Ok(vec![json!({"kind": "A", "metadata": {"name": "a"}, "n": 1})]);
        let expecting = |what: &str| {
            told(&format!("{{story: s, on: c, expect: [{{object: A/a, {what}}}]}}"), objects())
        };
        assert_eq!(expecting("at: /n, equals: 1"), Vec::<String>::new());
        assert_eq!(expecting("at: /m"), Vec::<String>::new());
        assert_eq!(expecting("at: /kind, contains: A"), Vec::<String>::new());
        for otherwise in ["at: /n, equals: 2", "at: /n", "at: /kind, contains: B"] {
            assert_eq!(expecting(otherwise).len(), 1, "{otherwise}");
        }
        let refused = "{story: s, on: c, refused: because}";
        assert_eq!(told(refused, Err("because".to_owned())), Vec::<String>::new());
        assert_eq!(told(refused, Err("otherwise".to_owned())).len(), 1);
        assert_eq!(told(refused, objects()).len(), 1);
        assert_eq!(told("{story: s, on: c}", objects()).len(), 1, "it could not fail");
    }
}
