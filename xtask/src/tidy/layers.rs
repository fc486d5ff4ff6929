//! Who may name whom: arrows point inward.

use super::Fault;
use super::code;
use super::shape::SERVICES;
use super::tree::{SourceFile, Tree};

const FRAMEWORKS: [&str; 6] = ["tonic", "prost", "prost_types", "axum", "sea_orm", "rdkafka"];

/// A way of naming something, and what it is called in the fault.
type Ban<'a> = (&'a str, fn(&str, &str) -> bool);

pub(super) fn domain(tree: &Tree) -> Vec<Fault> {
    let bans: Vec<Ban> = FRAMEWORKS.iter().map(|name| (*name, code::names as _)).collect();
    room(tree, "domain", &bans)
}

pub(super) fn app(tree: &Tree) -> Vec<Fault> {
    room(
        tree,
        "app",
        &[("grpc", code::names_module), ("store", code::names_module), ("sea_orm", code::names)],
    )
}

pub(super) fn grpc(tree: &Tree) -> Vec<Fault> {
    room(tree, "grpc", &[("store", code::names_module)])
}

pub(super) fn kernel(tree: &Tree) -> Vec<Fault> {
    named(tree.module("src/kernel"), "kernel", &[("contract", code::names_module)])
}

/// The same room of every service.
fn room(tree: &Tree, room: &str, bans: &[Ban]) -> Vec<Fault> {
    SERVICES
        .iter()
        .flat_map(|service| named(tree.module(&format!("{service}/src/{room}")), room, bans))
        .collect()
}

fn named<'a>(files: impl Iterator<Item = &'a SourceFile>, room: &str, bans: &[Ban]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files {
        for (index, line) in code::lines(&file.text).iter().enumerate() {
            for (name, _) in bans.iter().filter(|(name, names)| names(line, name)) {
                faults.push(Fault::at(&file.path, index + 1, format!("{room} names {name}")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arrow_that_points_outward_is_found() {
        let tree = Tree::of(&[
            ("auth-svc/src/domain.rs", "//! No tonic here.\nuse sea_orm::Value;\n"),
            ("auth-svc/src/domain/user.rs", "fn at() -> prost_types::Timestamp {}\n"),
            ("auth-svc/src/app/login.rs", "use crate::store::Rows;\nuse crate::grpc;\n"),
            ("auth-svc/src/grpc/auth.rs", "use crate::store;\nuse tonic::Status;\n"),
            ("auth-svc/src/store.rs", "use sea_orm::Value;\n"),
            ("src/kernel/token.rs", "use crate::contract::auth;\n"),
            ("src/contract/auth.rs", "use crate::kernel::token;\n"),
        ]);
        let places = |faults: Vec<Fault>| -> Vec<String> {
            faults.iter().map(|fault| format!("{}:{}", fault.path, fault.line)).collect()
        };
        assert_eq!(
            places(domain(&tree)),
            ["auth-svc/src/domain.rs:2", "auth-svc/src/domain/user.rs:1"]
        );
        assert_eq!(
            places(app(&tree)),
            ["auth-svc/src/app/login.rs:1", "auth-svc/src/app/login.rs:2"]
        );
        assert_eq!(places(grpc(&tree)), ["auth-svc/src/grpc/auth.rs:1"]);
        assert_eq!(places(kernel(&tree)), ["src/kernel/token.rs:1"]);
    }
}
