//! Small habits that keep files readable.

use super::Fault;
use super::tree::{SourceFile, Tree};

const MAX_LINES: usize = 500;

/// Files that may be longer, each for a reason.
const LONGER: [(&str, &str); 1] =
    [("proto/buf/validate/validate.proto", "published by others, kept as it is")];

/// What ends in one of these is code.
const CODE: [&str; 7] = [".rs", ".js", ".proto", ".toml", ".yaml", ".yml", ".sh"];
/// Text beside code.
const TEXT: [&str; 5] = [".md", ".txt", ".json", ".html", ".css"];

pub(super) fn length(tree: &Tree) -> Vec<Fault> {
    let is_excepted = |path: &str| LONGER.iter().any(|(excepted, _)| *excepted == path);
    tree.ending(".rs")
        .chain(tree.ending(".js"))
        .chain(tree.ending(".proto"))
        .filter(|file| !is_excepted(&file.path))
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > MAX_LINES).then(|| Fault::of_file(&file.path, format!("has {lines} lines")))
        })
        .collect()
}

/// The marks are put together here, or this file would break its own rule.
pub(super) fn nothing_for_later(tree: &Tree) -> Vec<Fault> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let calls = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];
    let mut faults = Vec::new();
    for file in tree.files().iter().filter(|file| is_code(file)) {
        for (index, line) in file.text.lines().enumerate() {
            let word = words.iter().find(|word| super::code::names(line, word));
            let call = calls.iter().find(|call| line.contains(*call));
            if let Some(mark) = word.or(call) {
                faults.push(Fault::at(&file.path, index + 1, format!("says {mark}")));
            }
        }
    }
    faults
}

pub(super) fn white_space(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_text =
        |file: &&SourceFile| is_code(file) || TEXT.iter().any(|suffix| file.path.ends_with(suffix));
    for file in tree.files().iter().filter(is_text) {
        for (index, line) in file.text.split('\n').enumerate() {
            if line.ends_with(char::is_whitespace) {
                faults.push(Fault::at(&file.path, index + 1, "ends in white space"));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            faults.push(Fault::of_file(&file.path, "does not end with a line break"));
        }
    }
    faults
}

fn is_code(file: &SourceFile) -> bool {
    file.path.starts_with(".ci/") || CODE.iter().any(|suffix| file.path.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_limit_is_found() {
        let (fits, long) = ("//\n".repeat(MAX_LINES), "//\n".repeat(MAX_LINES + 1));
        let tree = Tree::of(&[("a.rs", &fits), ("b.rs", &long), (LONGER[0].0, &long)]);
        let paths: Vec<_> = length(&tree).into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["b.rs"]);
    }

    #[test]
    fn each_mark_of_later_work_is_found() {
        for mark in [
            concat!("// TO", "DO: later"),
            concat!("# FIX", "ME"),
            concat!("    todo", "!()"),
            concat!("#[", "ignore = \"slow\"]"),
        ] {
            let tree = Tree::of(&[("src/a.rs", mark), ("docs/a.md", mark)]);
            assert_eq!(nothing_for_later(&tree).len(), 1, "{mark}");
        }
        let name = concat!("fn AUTO", "TO", "DO() {}");
        assert_eq!(nothing_for_later(&Tree::of(&[("src/a.rs", name)])), Vec::<Fault>::new());
    }

    #[test]
    fn white_space_at_ends_is_found() {
        let tree = Tree::of(&[
            ("a.rs", "fn a() {} \n"),
            ("b.md", "no line break"),
            ("c.toml", "a = 1\r\n"),
            ("d.rs", "fn d() {}\n"),
        ]);
        let paths: Vec<_> = white_space(&tree).into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["a.rs", "b.md", "c.toml"]);
    }
}
