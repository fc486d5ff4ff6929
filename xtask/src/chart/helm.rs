//! Helm itself, and the values it renders with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize as _;
use serde_json::Value;

use crate::infra::{Missing, find_program, output, output_of_input};

/// The module path and version that the mend names.
const MODULE: &str = "helm.sh/helm/v3/cmd/helm@v3.22.0";

/// Where `go install` puts programs unless it is told otherwise, below the home folder.
const GO_FOLDER: &str = "go/bin/helm";

/// Name and namespace that releases have here.
pub(super) const RELEASE: &str = "mainstay";
pub(super) const NAMESPACE: &str = "platform";

/// The program, and the chart.
pub(super) struct Helm {
    program: PathBuf,
    chart: PathBuf,
}

/// One way to install it: a file of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    file: PathBuf,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Case {
    /// Those that are tested, and the evaluation that is shipped.
    pub(super) fn all(root: &Path) -> anyhow::Result<Vec<Self>> {
        let folder = root.join("helm/tests/values");
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("{} cannot be read", folder.display()))?;
        let mut files =
            entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        files.sort();
        let named = |file: PathBuf| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Self { name, file }
        };
        Ok(std::iter::once(Self::evaluation(root)).chain(files.into_iter().map(named)).collect())
    }

    /// Production as docs/install.md leads to it, and what else it may have.
    pub(super) fn production(root: &Path) -> Self {
        let file = root.join("helm/tests/values/production.yaml");
        Self { name: "production".to_owned(), file }
    }

    /// The evaluation.
    pub(super) fn evaluation(root: &Path) -> Self {
        Self { name: "evaluation".to_owned(), file: root.join("helm/values-eval.yaml") }
    }
}

impl Helm {
    /// The program on the path, or where `go install` puts it.
    pub(super) fn find(root: &Path) -> anyhow::Result<Self> {
        let installed = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(GO_FOLDER));
        let program =
            find_program("helm").or(installed.filter(|file| file.is_file())).ok_or_else(|| {
                anyhow::anyhow!(Missing::new("helm", &format!("go install {MODULE}")))
            })?;
        Ok(Self { program, chart: root.join("helm") })
    }

    /// Fails at a warning.
    pub(super) fn lint(&self, case: &Case) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("lint").arg("--strict").arg(&self.chart).arg("--values").arg(&case.file);
        // A helm that was built by hand takes an old version for its default.
        command.args(["--kube-version", super::VERSIONS[0]]);
        output(&mut command).map(drop).with_context(|| format!("{case} does not lint"))
    }

    /// What an installation consists of.
    pub(super) fn template(&self, case: &Case, version: &str) -> anyhow::Result<Vec<Value>> {
        let said = output(self.command(version).arg("--values").arg(&case.file))
            .with_context(|| format!("{case} is not rendered for {version}"))?;
        documents(&said).with_context(|| format!("{case} on {version} is no YAML"))
    }

    /// As [`template`](Self::template), with further values; the text of a refusal in the place of
    /// objects.
    pub(super) fn template_with(
        &self,
        case: &Case,
        version: &str,
        values: &Value,
    ) -> Result<Vec<Value>, String> {
        let mut command = self.command(version);
        command.arg("--values").arg(&case.file).args(["--values", "-"]);
        let said = output_of_input(&mut command, &values.to_string());
        documents(&said.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    /// The same program with the chart of another tree.
    pub(super) fn of_tree(&self, root: &Path) -> Self {
        Self { program: self.program.clone(), chart: root.join("helm") }
    }

    /// A command about releases of a namespace in a cluster.
    pub(super) fn on_cluster(&self, access: &Path, namespace: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", access).args(["--namespace", namespace]);
        command
    }

    /// As [`on_cluster`](Self::on_cluster), to `install` the chart there, or to `upgrade` to it.
    pub(super) fn deploy(
        &self,
        verb: &str,
        case: &Case,
        (access, namespace): (&Path, &str),
    ) -> Command {
        let mut command = self.on_cluster(access, namespace);
        command.args([verb, RELEASE]).arg(&self.chart).arg("--values").arg(&case.file);
        command
    }

    fn command(&self, version: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["template", RELEASE]).arg(&self.chart);
        command.args(["--namespace", NAMESPACE, "--kube-version", version]);
        command
    }
}

/// The values that the chart has unless somebody says otherwise.
pub(crate) fn default_values(root: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(root.join("helm/values.yaml"))?;
    serde_yaml_ng::from_str(&text).context("helm/values.yaml cannot be read")
}

/// The documents of a YAML text that hold anything.
pub(super) fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents = serde_yaml_ng::Deserializer::from_str(text).map(Value::deserialize);
    let documents = documents.collect::<Result<Vec<_>, _>>()?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_documents_are_left_out() {
        let found = documents("---\n# nothing\n---\na: 1\n---\nb: [0440]\n").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0]["a"], 1);
    }
}
