//! ARCHITECTURE.md and the rules say the same.

use super::tree::Tree;
use super::{Fault, Rule};

const FILE: &str = "ARCHITECTURE.md";
const MARK: &str = "**Invariant:**";
/// An invariant that something else than tidy enforces says what.
const ENFORCED_ELSEWHERE: &str = "enforced by";

/// Every rule is stated, and every statement is enforced.
pub(super) fn check(tree: &Tree, rules: &[Rule]) -> Vec<Fault> {
    let Some(file) = tree.file(FILE) else {
        return vec![Fault::of_file(FILE, "is missing; it states the invariants")];
    };
    let statements = statements(&file.text);
    let mut faults = Vec::new();
    for rule in rules {
        let sentence = one_line(rule.invariant);
        if !statements.iter().any(|statement| statement.starts_with(&sentence)) {
            faults.push(Fault::of_file(FILE, format!("does not state `{MARK} {sentence}`")));
        }
    }
    for statement in &statements {
        let is_rule = rules.iter().any(|rule| statement.starts_with(&one_line(rule.invariant)));
        if !is_rule && !statement.to_lowercase().contains(ENFORCED_ELSEWHERE) {
            faults.push(Fault::of_file(
                FILE,
                format!(
                    "nothing enforces `{MARK} {statement}`: add a rule to tidy, or say that it is \
                     \"{ENFORCED_ELSEWHERE} …\""
                ),
            ));
        }
    }
    faults
}

/// What follows each mark, up to the end of its paragraph, on one line.
fn statements(text: &str) -> Vec<String> {
    text.split("\n\n")
        .flat_map(|paragraph| paragraph.split(MARK).skip(1))
        .map(|statement| one_line(statement.trim_end_matches(['-', '*', ' ', '\n'])))
        .collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 2] = [
        Rule { invariant: "The kernel knows no contract.", check: |_| Vec::new() },
        Rule { invariant: "The gateway owns no database.", check: |_| Vec::new() },
    ];

    #[test]
    fn wrapped_lines_and_lists_count() {
        let text = "Text.\n\n**Invariant:** The kernel\nknows no contract. And why.\n\n\
                    - **Invariant:** The gateway owns no database.\n\
                    - **Invariant:** No secret is logged (enforced by `kernel::settings`).\n";
        assert_eq!(check(&Tree::of(&[(FILE, text)]), &RULES), Vec::<Fault>::new());
    }

    #[test]
    fn a_rule_that_is_not_stated_and_a_statement_without_a_rule_are_found() {
        let text = "**Invariant:** The kernel knows no contract.\n\n**Invariant:** All is well.\n";
        let texts: Vec<_> =
            check(&Tree::of(&[(FILE, text)]), &RULES).iter().map(Fault::text).collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("The gateway owns no database"), "{texts:?}");
        assert!(texts[1].contains("nothing enforces"), "{texts:?}");
        assert_eq!(check(&Tree::default(), &RULES).len(), 1);
    }
}
