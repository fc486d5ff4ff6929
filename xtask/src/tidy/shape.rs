//! Where things lie.

use super::Fault;
use super::tree::Tree;

/// The five services.
pub(super) const SERVICES: [&str; 5] =
    ["auth-svc", "identity-svc", "authz-svc", "audit-svc", "billing-svc"];

/// Rooms that are a file and, when they need it, a folder.
const ROOMS: [&str; 5] = ["grpc", "app", "domain", "store", "events"];
/// Files of `src/` beside the rooms.
const FILES: [&str; 3] = ["main", "lib", "config"];
/// Files outside of `src/`.
const OUTSIDE: [&str; 3] = ["Cargo.toml", "README.md", "tests/it/main.rs"];

/// Rooms that one service has beside those of all: adapters of a port that only its domain has.
const EXTRA_ROOMS: [(&str, &str); 1] = [("billing-svc", "provider")];

const GRAB_BAGS: [&str; 6] = ["util", "utils", "common", "misc", "helper", "helpers"];

/// Every service has every room and no other.
pub(super) fn rooms(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for service in SERVICES {
        let in_src = FILES.iter().chain(&ROOMS).map(|name| format!("src/{name}.rs"));
        for wanted in in_src.chain(OUTSIDE.iter().map(|name| (*name).to_owned())) {
            let path = format!("{service}/{wanted}");
            if tree.file(&path).is_none() {
                faults.push(Fault::of_file(&path, "is missing"));
            }
        }
        let src = format!("{service}/src/");
        for file in tree.files() {
            let Some(below) = file.path.strip_prefix(&src) else { continue };
            let is_room = |name| ROOMS.contains(&name) || EXTRA_ROOMS.contains(&(service, name));
            let known = match below.split_once('/') {
                Some((room, _)) => is_room(room),
                None => below
                    .strip_suffix(".rs")
                    .is_some_and(|name| FILES.contains(&name) || is_room(name)),
            };
            if !known {
                faults.push(Fault::of_file(&file.path, "lies in none of the rooms"));
            }
        }
    }
    faults
}

/// `proto/mainstay/auth/v1/x.proto` holds `package mainstay.auth.v1;`.
pub(super) fn proto_packages(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in tree.ending(".proto") {
        // Contracts that only a crate's tests or the benchmarks use lie with them.
        let of_tests = file.path.split_once("/tests/proto/").map(|(_, below)| below);
        let of_benches = file.path.strip_prefix("benches/proto/");
        let Some(below) = file.path.strip_prefix("proto/").or(of_tests).or(of_benches) else {
            faults.push(Fault::of_file(&file.path, "contracts lie below proto/"));
            continue;
        };
        let folder = below.rsplit_once('/').map_or("", |(folder, _)| folder).replace('/', ".");
        let wanted = format!("package {folder};");
        // Packages of google.api and buf.validate follow their own publishers' rules, which agree.
        if !file.text.lines().any(|line| line.trim() == wanted) {
            faults.push(Fault::of_file(&file.path, format!("does not say `{wanted}`")));
        }
    }
    faults
}

pub(super) fn no_mod_rs(tree: &Tree) -> Vec<Fault> {
    // `tests/it/main.rs` is the root of a test binary; its modules follow the same rule.
    tree.ending("/mod.rs")
        .map(|file| Fault::of_file(&file.path, "name it like its folder, beside the folder"))
        .collect()
}

pub(super) fn no_grab_bags(tree: &Tree) -> Vec<Fault> {
    tree.files()
        .iter()
        .filter(|file| {
            file.path.split('/').any(|part| {
                let stem = part.split_once('.').map_or(part, |(stem, _)| stem);
                GRAB_BAGS.contains(&stem)
            })
        })
        .map(|file| Fault::of_file(&file.path, "the name does not say what is in it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_room_and_a_room_too_many_are_found() {
        let mut files: Vec<(String, &str)> = Vec::new();
        for service in SERVICES {
            for name in FILES.iter().chain(&ROOMS) {
                files.push((format!("{service}/src/{name}.rs"), ""));
            }
            files.extend(OUTSIDE.iter().map(|name| (format!("{service}/{name}"), "")));
        }
        files.push(("auth-svc/src/store/rows.rs".to_owned(), ""));
        let tree = |files: &[(String, &str)]| {
            let borrowed: Vec<_> =
                files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            Tree::of(&borrowed)
        };
        assert_eq!(rooms(&tree(&files)), Vec::<Fault>::new());
        files.retain(|(path, _)| path != "audit-svc/README.md");
        files.push(("auth-svc/src/passwords.rs".to_owned(), ""));
        files.push(("auth-svc/src/jobs/sweep.rs".to_owned(), ""));
        let paths: Vec<_> = rooms(&tree(&files)).into_iter().map(|fault| fault.path).collect();
        assert_eq!(
            paths,
            ["auth-svc/src/jobs/sweep.rs", "auth-svc/src/passwords.rs", "audit-svc/README.md"]
        );
    }

    #[test]
    fn a_contract_in_the_wrong_folder_is_found() {
        let tree = Tree::of(&[
            ("proto/mainstay/auth/v1/a.proto", "package mainstay.auth.v1;\n"),
            ("proto/mainstay/auth/v1/b.proto", "package mainstay.auth.v2;\n"),
            ("gateway/c.proto", "package gateway;\n"),
            ("gateway/tests/proto/library/v1/d.proto", "package library.v1;\n"),
            ("benches/proto/edge/v1/e.proto", "package edge.v1;\n"),
        ]);
        let paths: Vec<_> = proto_packages(&tree).into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["gateway/c.proto", "proto/mainstay/auth/v1/b.proto"]);
    }

    #[test]
    fn bad_names_are_found() {
        let tree = Tree::of(&[
            ("src/kernel/mod.rs", ""),
            ("src/utils.rs", ""),
            ("gateway/src/common/text.rs", ""),
            ("src/commons.rs", ""),
        ]);
        assert_eq!(no_mod_rs(&tree).len(), 1);
        let paths: Vec<_> = no_grab_bags(&tree).into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["gateway/src/common/text.rs", "src/utils.rs"]);
    }
}
