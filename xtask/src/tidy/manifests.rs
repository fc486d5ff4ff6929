//! What crates link and what they inherit, from their manifests.

use toml::{Table, Value};

use super::Fault;
use super::shape::SERVICES;
use super::tree::Tree;

/// Crates that reach a database.
const DATABASES: [&str; 3] = ["sea-orm", "sea-orm-migration", "sqlx"];
/// Crates of the product.
const PRODUCT: [&str; 4] = ["mainstay", "mainstay-testing", "mainstay-bench", "mainstayctl"];

/// The harness of the tests.
const TESTING: &str = "mainstay-testing";
/// The feature of the crate `fail` that compiles failpoints in.
const FAILPOINTS: &str = "failpoints";

/// Tests may start a service in their own process; what ships may not link one.
pub(super) fn no_service_linked(tree: &Tree) -> Vec<Fault> {
    SERVICES
        .iter()
        .chain(&["gateway", "ctl"])
        .flat_map(|member| banned(tree, member, &["dependencies"], &SERVICES))
        .collect()
}

pub(super) fn gateway_without_database(tree: &Tree) -> Vec<Fault> {
    banned(tree, "gateway", &["dependencies"], &DATABASES)
}

pub(super) fn xtask_apart(tree: &Tree) -> Vec<Fault> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let product: Vec<&str> = PRODUCT.iter().chain(&SERVICES).chain(&["gateway"]).copied().collect();
    banned(tree, "xtask", &sections, &product)
}

/// A build of the whole workspace has the failpoints, which the tests need. One of single packages, as
/// an image is made of, has what those packages ask for themselves.
pub(super) fn failpoints_in_tests(tree: &Tree) -> Vec<Fault> {
    let mut faults: Vec<Fault> = SERVICES
        .iter()
        .chain(&[".", "gateway", "ctl"])
        .flat_map(|member| {
            banned(tree, member, &["dependencies", "build-dependencies"], &[TESTING])
        })
        .collect();
    for manifest in tree.ending("Cargo.toml").filter(|file| file.path != "testing/Cargo.toml") {
        let asked = manifest.text.lines().position(|line| line.contains(FAILPOINTS));
        faults.extend(asked.map(|line| Fault::at(&manifest.path, line + 1, "asks for failpoints")));
    }
    faults
}

pub(super) fn uniform(tree: &Tree) -> Vec<Fault> {
    let Some(root) = manifest(tree, "Cargo.toml") else {
        return vec![Fault::of_file("Cargo.toml", "is missing or no TOML")];
    };
    let list = |key: &str| -> Vec<&str> {
        let members = root.get("workspace").and_then(|workspace| workspace.get(key)?.as_array());
        members.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let mut faults = Vec::new();
    for member in list("members") {
        if !list("default-members").contains(&member) {
            faults.push(Fault::of_file("Cargo.toml", format!("{member} is no default member")));
        }
        let path = path_of(member);
        let inherits = manifest(tree, &path)
            .and_then(|manifest| manifest.get("lints")?.get("workspace")?.as_bool());
        if inherits != Some(true) {
            faults.push(Fault::of_file(&path, "does not say `[lints] workspace = true`"));
        }
    }
    faults
}

fn banned(tree: &Tree, member: &str, sections: &[&str], names: &[&str]) -> Vec<Fault> {
    let path = path_of(member);
    let Some(manifest) = manifest(tree, &path) else {
        return vec![Fault::of_file(&path, "is missing or no TOML")];
    };
    sections
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(|section| section.keys())
        .filter(|name| names.contains(&name.as_str()))
        .map(|name| Fault::of_file(&path, format!("links {name}")))
        .collect()
}

fn path_of(member: &str) -> String {
    if member == "." { "Cargo.toml".to_owned() } else { format!("{member}/Cargo.toml") }
}

fn manifest(tree: &Tree, path: &str) -> Option<Table> {
    toml::from_str(&tree.file(path)?.text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    #[test]
    fn links_that_must_not_be_are_found() {
        let gateway = "[dependencies]\nauth-svc = \"1\"\nsqlx.workspace = true\n\
                       [dev-dependencies]\nbilling-svc = \"1\"\n";
        let mut files = vec![("gateway/Cargo.toml", gateway), ("ctl/Cargo.toml", LINTS)];
        let xtask = "[dev-dependencies]\nmainstay-testing.workspace = true\n";
        files.push(("xtask/Cargo.toml", xtask));
        let services: Vec<String> =
            SERVICES.iter().map(|service| format!("{service}/Cargo.toml")).collect();
        files.extend(services.iter().map(|path| (path.as_str(), LINTS)));
        let tree = Tree::of(&files);
        let text = |faults: Vec<Fault>| faults.iter().map(Fault::text).collect::<Vec<_>>();
        assert_eq!(text(no_service_linked(&tree)), ["gateway/Cargo.toml: links auth-svc"]);
        assert_eq!(text(gateway_without_database(&tree)), ["gateway/Cargo.toml: links sqlx"]);
        assert_eq!(text(xtask_apart(&tree)), ["xtask/Cargo.toml: links mainstay-testing"]);
    }

    #[test]
    fn failpoints_that_would_ship_are_found() {
        let on = "[dependencies]\nfail = { version = \"0.5\", features = [\"failpoints\"] }\n";
        let harness = "[dev-dependencies]\nmainstay-testing.workspace = true\n";
        let shipped = "[dependencies]\nmainstay-testing.workspace = true\n";
        let mut files = vec![("Cargo.toml", harness), ("ctl/Cargo.toml", shipped)];
        files.extend([("gateway/Cargo.toml", on), ("testing/Cargo.toml", on)]);
        let services: Vec<String> =
            SERVICES.iter().map(|service| format!("{service}/Cargo.toml")).collect();
        files.extend(services.iter().map(|path| (path.as_str(), LINTS)));
        let texts: Vec<_> =
            failpoints_in_tests(&Tree::of(&files)).iter().map(Fault::text).collect();
        assert_eq!(
            texts,
            ["ctl/Cargo.toml: links mainstay-testing", "gateway/Cargo.toml:2: asks for failpoints"]
        );
    }

    #[test]
    fn a_member_apart_from_the_others_is_found() {
        let root = format!(
            "[workspace]\nmembers = [\".\", \"a\", \"b\"]\ndefault-members = [\".\", \"a\"]\n{LINTS}"
        );
        let tree = Tree::of(&[
            ("Cargo.toml", root.as_str()),
            ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("b/Cargo.toml", LINTS),
        ]);
        let texts: Vec<_> = uniform(&tree).iter().map(Fault::text).collect();
        assert_eq!(
            texts,
            [
                "a/Cargo.toml: does not say `[lints] workspace = true`",
                "Cargo.toml: b is no default member"
            ]
        );
    }
}
