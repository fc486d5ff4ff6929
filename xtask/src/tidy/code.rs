//! Rust source without comments and strings, and the names that remain in it.

/// The lines of a source with comments, strings and characters blanked out.
pub(super) fn lines(source: &str) -> Vec<String> {
    let mut blanked = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_bytes(rest, blanked.chars().next_back());
        if skipped == 0 {
            blanked.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (blank, after) = rest.split_at(skipped);
            blanked.extend(blank.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    blanked.lines().map(str::to_owned).collect()
}

/// Whether a line names a crate, or anything else, by this very word.
pub(super) fn names(line: &str, word: &str) -> bool {
    occurrences(line, word).next().is_some()
}

/// Whether a line names a module of this name in a path: `store::` or `::store`.
pub(super) fn names_module(line: &str, module: &str) -> bool {
    occurrences(line, module)
        .any(|at| line[..at].ends_with("::") || line[at + module.len()..].starts_with("::"))
}

fn occurrences<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !line[..*at].ends_with(part_of_name) && !line[at + word.len()..].starts_with(part_of_name)
    })
}

/// How many bytes of comment, string or character begin here; 0 if code does.
fn skipped_bytes(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if rest.starts_with('"') {
        return string_bytes(rest);
    }
    let begins_word = !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    match rest.strip_prefix('r').filter(|_| begins_word) {
        Some(raw) => raw_string_bytes(raw).map_or(0, |bytes| bytes + 1),
        None => character_bytes(rest),
    }
}

fn string_bytes(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Bytes of `#"…"#` after the `r`; `None` if it is no raw string.
fn raw_string_bytes(raw: &str) -> Option<usize> {
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let body = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(raw.len(), |at| hashes + 1 + at + end.len()))
}

/// Bytes of `'x'` or `'\n'`; 0 for a lifetime.
fn character_bytes(rest: &str) -> usize {
    let Some(body) = rest.strip_prefix('\'') else { return 0 };
    let end = match body.strip_prefix('\\') {
        Some(escape) => {
            escape.char_indices().skip(1).find(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1)
        }
        None => {
            body.chars().next().map(char::len_utf8).filter(|width| body[*width..].starts_with('\''))
        }
    };
    end.map_or(0, |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blank_and_lines_stay() {
        let source = "use tonic; // tonic\n/* tonic\ntonic */ let a = \"tonic \\\" tonic\";\n\
                      let b = r#\"tonic \" tonic\"#; let c = '\"'; let d = '\\''; fn e<'a>() { tonic }";
        let lines = lines(source);
        assert_eq!(lines.len(), 4);
        let found: Vec<bool> = lines.iter().map(|line| names(line, "tonic")).collect();
        assert_eq!(found, [true, false, false, true]);
        assert_eq!(lines[3].matches("tonic").count(), 1, "{}", lines[3]);
    }

    #[test]
    fn a_name_is_a_whole_word_and_a_module_part_of_a_path() {
        assert!(names("use tonic::Status;", "tonic"));
        assert!(!names("use tonic_types::Details;", "tonic"));
        assert!(!names("let subtonic = 1;", "tonic"));
        assert!(names_module("use crate::store;", "store"));
        assert!(names_module("use store::Rows;", "store"));
        assert!(!names_module("let store = self.store.clone();", "store"));
    }
}
