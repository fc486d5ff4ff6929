//! Failpoints are in builds of the whole workspace and in nothing that ships, as cargo resolves it.

use std::process::Command;

/// What images are made of.
const SHIPPED: [&str; 7] =
    ["auth-svc", "identity-svc", "authz-svc", "audit-svc", "billing-svc", "gateway", "mainstayctl"];

#[test]
fn no_package_that_ships_is_built_with_failpoints() {
    assert!(has_failpoints(&["--workspace"]), "the stories need them");
    let shipped: Vec<_> = SHIPPED.iter().flat_map(|package| ["--package", package]).collect();
    assert!(!has_failpoints(&shipped), "one of {SHIPPED:?} asks for them");
}

/// Whether a build of this choice asks the crate `fail` for them.
fn has_failpoints(choice: &[&str]) -> bool {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let tree = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .current_dir(root)
        .args(["tree", "--locked", "--offline", "--edges", "normal,features", "--invert", "fail"])
        .args(choice)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tree.stderr).into_owned();
    assert!(tree.status.success(), "{said}");
    String::from_utf8(tree.stdout).unwrap().contains("fail feature \"failpoints\"")
}
