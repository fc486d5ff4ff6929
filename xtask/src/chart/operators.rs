//! Objects of operators, by the types and validators that are made of what the operators publish.
//!
//! They come as packages of npm: the types know each field and each name of a choice, the validators
//! patterns and bounds. So objects are written down as a program, which is compiled and run. Rules in CEL
//! are not computed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::helm::Case;
use super::objects::{id, text};
use crate::infra::{Missing, find_program, output};
use crate::{npm, workspace};

/// The folder with the packages' versions.
const PACKAGES: &str = "helm/tests/operators";

/// Group and version, kind, and the package that has its type.
const KINDS: [(&str, &str, &str); 6] = [
    ("cert-manager.io/v1", "Certificate", "cert-manager"),
    ("cert-manager.io/v1", "Issuer", "cert-manager"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", "gateway-api"),
    ("monitoring.coreos.com/v1", "PodMonitor", "prometheus-operator"),
    ("monitoring.coreos.com/v1", "ServiceMonitor", "prometheus-operator"),
    ("monitoring.coreos.com/v1", "PrometheusRule", "prometheus-operator"),
];

/// Whether an operator brings an object's kind.
pub(super) fn bring(object: &Value) -> bool {
    KINDS.iter().any(|(version, kind, _)| {
        text(object, "/apiVersion") == *version && text(object, "/kind") == *kind
    })
}

/// Every object that its operator would refuse.
pub(super) fn faults(rendered: &[(&Case, &str, Vec<Value>)]) -> anyhow::Result<Vec<String>> {
    // What was rendered alike is looked at once.
    let mut objects = BTreeMap::new();
    for (case, version, all) in rendered {
        for object in all.iter().filter(|object| bring(object)) {
            let place = || format!("{case} on {version}: {}", id(object));
            objects.entry(object.to_string()).or_insert_with(place);
        }
    }
    let objects: Vec<_> = objects.into_iter().map(|(object, place)| (place, object)).collect();
    judge(&workspace::target_folder().join("chart/operators"), &objects)
}

/// A fault for each that is wrong of these places and objects, which are JSON.
fn judge(work: &Path, objects: &[(String, String)]) -> anyhow::Result<Vec<String>> {
    npm::install(PACKAGES, work)?;
    let node =
        find_program("node").with_context(|| Missing::package("node", "nodejs").to_string())?;
    std::fs::write(work.join("objects.ts"), program(objects)?)?;
    let mut compiler = Command::new(&node);
    compiler.current_dir(work).arg("node_modules/typescript/bin/tsc");
    compiler.args(["--pretty", "false", "--strict", "--skipLibCheck", "--lib", "es2023,dom"]);
    compiler.args(["--module", "nodenext", "--target", "es2023", "objects.ts"]);
    let compiled = compiler.output().context("node cannot be run")?;
    let said = String::from_utf8_lossy(&compiled.stdout);
    if !compiled.status.success() {
        return Ok(said.lines().map(|line| placed(line, objects)).collect());
    }
    let said = output(Command::new(&node).current_dir(work).arg("objects.js"))?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// The program: after the lines of its head one object a line.
fn program(objects: &[(String, String)]) -> anyhow::Result<String> {
    let mut program = String::new();
    for (version, kind, package) in KINDS {
        let path = format!("@kubernetes-models/{package}/{version}/{kind}");
        writeln!(program, "import {{ {kind}, type I{kind} }} from \"{path}\";")?;
    }
    for (number, (_, object)) in objects.iter().enumerate() {
        let kind = serde_json::from_str::<Value>(object)?["kind"].as_str().map(str::to_owned);
        let kind = kind.context("an object without a kind")?;
        writeln!(program, "const of{number}: I{kind} = {object};")?;
    }
    program.push_str("const judge = (place: string, object: { validate(): void }) => {\n");
    program.push_str("  try { object.validate(); } catch (error) {\n");
    program.push_str("    console.log(`${place}: ${(error as Error).message}`);\n  }\n};\n");
    for (number, (place, object)) in objects.iter().enumerate() {
        let kind = text(&serde_json::from_str::<Value>(object)?, "/kind").to_owned();
        writeln!(program, "judge({}, new {kind}(of{number}));", Value::from(place.as_str()))?;
    }
    Ok(program)
}

/// A line of the compiler with the place of the object that it is about: `objects.ts(LINE,COLUMN): …`.
fn placed(line: &str, objects: &[(String, String)]) -> String {
    let number = line.strip_prefix("objects.ts(").and_then(|rest| rest.split(',').next());
    let number = number.and_then(|number| number.parse::<usize>().ok());
    let object = number.and_then(|number| objects.get(number.checked_sub(KINDS.len() + 1)?));
    match (object, line.split_once("): ")) {
        (Some((place, _)), Some((_, what))) => format!("{place}: {what}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> (String, String) {
        ("values on 1.37.0: Certificate/a".to_owned(), json.to_owned())
    }

    #[test]
    fn an_object_stands_on_its_own_line_of_the_program() {
        let objects = [object(r#"{"kind":"Certificate"}"#), object(r#"{"kind":"Issuer"}"#)];
        let program = program(&objects).unwrap();
        let line = program.lines().nth(KINDS.len() + 1).unwrap();
        assert_eq!(line, r#"const of1: IIssuer = {"kind":"Issuer"};"#);
    }

    #[test]
    fn the_compiler_is_understood() {
        let objects = [object("{}")];
        let said = format!("objects.ts({},139): error TS2561: 'dnsNams'", KINDS.len() + 1);
        let placed_there = placed(&said, &objects);
        assert_eq!(placed_there, "values on 1.37.0: Certificate/a: error TS2561: 'dnsNams'");
        for other in ["  Type 'x'", "objects.ts(1,1): error", "objects.ts(900,1): error"] {
            assert_eq!(placed(other, &objects), other);
        }
    }
}
