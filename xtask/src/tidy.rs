//! The invariants of ARCHITECTURE.md, read off the files.
//!
//! Every rule carries the sentence with which ARCHITECTURE.md states it, word for word, so that
//! neither can change without the other: a rule whose sentence is missing fails, and so does a
//! sentence that nothing enforces.

mod architecture;
mod code;
mod habits;
mod layers;
mod manifests;
mod shape;
mod tree;

use std::process::ExitCode;

use anyhow::bail;

use crate::workspace;
use tree::Tree;

/// One invariant and how it is checked.
struct Rule {
    /// The sentence after `**Invariant:**` in ARCHITECTURE.md.
    invariant: &'static str,
    check: fn(&Tree) -> Vec<Fault>,
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    path: String,
    /// Counted from 1; 0 when the whole file is meant.
    line: usize,
    what: String,
}

/// Every rule.
const RULES: [Rule; 16] = [
    Rule {
        invariant: "`domain/` names no framework: no tonic, prost, axum, sea_orm, rdkafka.",
        check: layers::domain,
    },
    Rule {
        invariant: "`app/` names neither `grpc`, `store` nor sea_orm: it reaches them through ports.",
        check: layers::app,
    },
    Rule {
        invariant: "`grpc/` names no `store`: handlers translate, they do not decide.",
        check: layers::grpc,
    },
    Rule {
        invariant: "`kernel/` names no `contract`: it knows no business noun.",
        check: layers::kernel,
    },
    Rule {
        invariant: "All five services have the same rooms; billing alone has one more, `provider`, \
                    for its payment adapters.",
        check: shape::rooms,
    },
    Rule {
        invariant: "Neither a service, the gateway nor `ctl` links a service's crate: they meet over gRPC.",
        check: manifests::no_service_linked,
    },
    Rule { invariant: "The gateway owns no database.", check: manifests::gateway_without_database },
    Rule { invariant: "xtask does not link the product.", check: manifests::xtask_apart },
    Rule {
        invariant: "Failpoints are switched on by `testing` alone, and nothing that ships links it.",
        check: manifests::failpoints_in_tests,
    },
    Rule {
        invariant: "Every crate takes its lints from the workspace, and every member is a default \
                    member.",
        check: manifests::uniform,
    },
    Rule {
        invariant: "Every contract lies in the folder that its package names.",
        check: shape::proto_packages,
    },
    Rule {
        invariant: "A module is `foo.rs` beside `foo/`: there is no `mod.rs`.",
        check: shape::no_mod_rs,
    },
    Rule {
        invariant: "There is no `utils`, `common` or `misc`: a thing lies where a person would look \
                    for it.",
        check: shape::no_grab_bags,
    },
    Rule { invariant: "No file of code is longer than 500 lines.", check: habits::length },
    Rule {
        invariant: "Nothing is left for later in code: no to-do marks, no tests switched off.",
        check: habits::nothing_for_later,
    },
    Rule {
        invariant: "No line ends in white space, and every text file ends with a line break.",
        check: habits::white_space,
    },
];

/// Checks the repository; names every fault.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let faults = check(&Tree::read(&workspace::root())?);
    if faults.is_empty() {
        println!("tidy: {} invariants hold", RULES.len());
        return Ok(ExitCode::SUCCESS);
    }
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    bail!("tidy found {} fault(s)", faults.len())
}

/// Every fault of a tree, with the sentence that is broken.
fn check(tree: &Tree) -> Vec<String> {
    let mut texts = Vec::new();
    for rule in &RULES {
        for fault in (rule.check)(tree) {
            texts.push(format!("{}\n  **Invariant:** {}", fault.text(), rule.invariant));
        }
    }
    texts.extend(architecture::check(tree, &RULES).iter().map(Fault::text));
    texts
}

impl Fault {
    fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }

    fn of_file(path: &str, what: impl Into<String>) -> Self {
        Self::at(path, 0, what)
    }

    fn text(&self) -> String {
        match self.line {
            0 => format!("{}: {}", self.path, self.what),
            line => format!("{}:{line}: {}", self.path, self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let faults = check(&Tree::read(&workspace::root()).unwrap());
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }

    #[test]
    fn every_sentence_is_stated_once() {
        for rule in &RULES {
            assert_eq!(
                RULES.iter().filter(|other| other.invariant == rule.invariant).count(),
                1,
                "{}",
                rule.invariant
            );
        }
    }
}
