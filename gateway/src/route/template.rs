//! Path templates of `google.api.http`: `/api/v1/users/{user_id}`, `/v1/{name=shelves/*}:archive`.
//!
//! A template compiles to a flat list of segments, each a literal or a wildcard, and to the
//! variables that span some of them. Two templates that match the same paths have the same
//! [`Shape`], which is what conflicts are judged by.

use std::sync::Arc;

use super::percent;

/// A compiled path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    segments: Vec<Segment>,
    verb: Option<String>,
    variables: Vec<Variable>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// This very text, without escapes.
    Literal(String),
    /// `*`: any one segment that is not empty.
    Any,
    /// `**`: all that is left, be it nothing.
    Rest,
}

/// A request field that a part of the path fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Path of the field, such as `["user", "id"]`.
    pub(crate) field: Arc<[String]>,
    start: usize,
    end: usize,
    /// Whether it ends in `**` and so takes all that is left.
    open: bool,
}

/// The paths that a template matches, without the names of its variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// The segments.
    pub(crate) segments: Vec<Segment>,
    /// The custom verb after the last colon.
    pub(crate) verb: Option<String>,
}

/// The text that a path has for one variable, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capture {
    /// Path of the request field.
    pub(crate) field: Arc<[String]>,
    /// The decoded text; an error when its bytes are not UTF-8.
    pub(crate) text: Result<String, percent::NotText>,
}

impl Template {
    /// Compiles a template. The message of an error says where it is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("a path template begins with `/`")?;
        let (path, verb) = split_verb(rest);
        let verb = verb.map(literal).transpose()?;
        let mut template =
            Self { text: text.to_owned(), segments: Vec::new(), verb, variables: Vec::new() };
        for part in split_segments(path)? {
            template.push(part)?;
        }
        template.check()?;
        Ok(template)
    }

    /// The template as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The template with variables reduced to their names, as OpenAPI writes paths.
    pub(crate) fn openapi_path(&self) -> String {
        let mut path = String::new();
        let mut index = 0;
        while index < self.segments.len() {
            path.push('/');
            match self.variables.iter().find(|variable| variable.start == index) {
                Some(variable) => {
                    path.push_str(&format!("{{{}}}", variable.field.join(".")));
                    index = variable.end;
                }
                None => {
                    match self.segments.get(index) {
                        Some(Segment::Literal(text)) => {
                            path.push_str(&percent::encode_segment(text))
                        }
                        Some(Segment::Any) => path.push('*'),
                        _ => path.push_str("**"),
                    }
                    index += 1;
                }
            }
        }
        if let Some(verb) = &self.verb {
            path.push(':');
            path.push_str(&percent::encode_segment(verb));
        }
        path
    }

    /// The variables, in the order of the path.
    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// What the template matches, whatever its variables are called.
    pub(crate) fn shape(&self) -> Shape {
        Shape { segments: self.segments.clone(), verb: self.verb.clone() }
    }

    /// What the variables are in a path that matches, given without its leading `/`.
    pub(crate) fn captures(&self, path: &str) -> Vec<Capture> {
        let path = match self.verb {
            Some(_) => path.rsplit_once(':').map_or(path, |(stem, _)| stem),
            None => path,
        };
        self.variables.iter().map(|variable| variable.capture(path)).collect()
    }

    fn push(&mut self, part: &str) -> Result<(), String> {
        let Some(inner) = part.strip_prefix('{') else {
            self.segments.push(segment(part)?);
            return Ok(());
        };
        let inner = inner.strip_suffix('}').ok_or_else(|| format!("`{part}` is not closed"))?;
        let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        let start = self.segments.len();
        for part in pattern.split('/') {
            self.segments.push(segment(part)?);
        }
        let open = pattern.ends_with("**");
        let field = field_path(field)?;
        if self.variables.iter().any(|variable| *variable.field == *field) {
            return Err(format!("`{}` is bound twice", field.join(".")));
        }
        self.variables.push(Variable {
            field: field.into(),
            start,
            end: self.segments.len(),
            open,
        });
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let rest = self.segments.iter().position(|segment| *segment == Segment::Rest);
        match rest {
            Some(index) if index + 1 < self.segments.len() => {
                Err("`**` stands only at the end of a path".into())
            }
            _ => Ok(()),
        }
    }
}

impl Variable {
    fn capture(&self, path: &str) -> Capture {
        let from = after_segments(path, self.start);
        let part = path.get(from..).unwrap_or_default();
        let part = match self.open {
            true => part,
            false => {
                let end = after_segments(part, self.end - self.start);
                // Without the slash behind it, if one is there.
                part.get(..end).map_or(part, |part| part.strip_suffix('/').unwrap_or(part))
            }
        };
        let several = self.open || self.end - self.start > 1;
        let text = if several { percent::decode_path(part) } else { percent::decode(part) };
        Capture { field: Arc::clone(&self.field), text }
    }
}

/// Where a path goes on behind some of its segments and the slash after them.
fn after_segments(path: &str, count: usize) -> usize {
    match count {
        0 => 0,
        _ => path.match_indices('/').nth(count - 1).map_or(path.len(), |(slash, _)| slash + 1),
    }
}

/// Splits a custom verb off: a colon in the last segment, outside of braces.
fn split_verb(path: &str) -> (&str, Option<&str>) {
    let from = path.rfind(['/', '}']).map_or(0, |index| index + 1);
    match path[from..].rfind(':') {
        Some(index) => (&path[..from + index], Some(&path[from + index + 1..])),
        None => (path, None),
    }
}

/// Splits at slashes that are not inside braces.
fn split_segments(path: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (index, character) in path.char_indices() {
        match character {
            '{' if inside => return Err("variables do not nest".into()),
            '{' => inside = true,
            '}' => inside = false,
            '/' if !inside => {
                parts.push(&path[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&path[start..]);
    Ok(parts)
}

fn segment(part: &str) -> Result<Segment, String> {
    match part {
        "*" => Ok(Segment::Any),
        "**" => Ok(Segment::Rest),
        "" => Err("a segment is empty".into()),
        text => literal(text).map(Segment::Literal),
    }
}

/// A text of the path. What is reserved may be written with escapes, as in the path itself.
fn literal(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['*', '{', '}']) {
        return Err(format!("`{text}` is no segment"));
    }
    percent::decode(text).map_err(|_| format!("`{text}` {}", percent::NotText))
}

fn field_path(text: &str) -> Result<Vec<String>, String> {
    let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    let sound = |part: &String| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if parts.iter().all(sound) { Ok(parts) } else { Err(format!("`{text}` is no field path")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    fn captured(template: &str, path: &str) -> Vec<(String, String)> {
        let captures = Template::parse(template).unwrap().captures(&path[1..]);
        captures.into_iter().map(|found| (found.field.join("."), found.text.unwrap())).collect()
    }

    #[test]
    fn variables_take_their_part_of_the_path() {
        let rows = [
            ("/v1/users/{user_id}", "/v1/users/7", "user_id", "7"),
            ("/v1/users/{user_id}", "/v1/users/a%2Fb%20c", "user_id", "a/b c"),
            ("/v1/{name=shelves/*}", "/v1/shelves/3", "name", "shelves/3"),
            ("/v1/{book.id}/pages", "/v1/9/pages", "book.id", "9"),
            ("/v1/{book.id}/pages", "/v1/9%2F/pages", "book.id", "9/"),
            ("/v1/files/{path=**}", "/v1/files/a/b%2Fc/d", "path", "a/b%2Fc/d"),
            ("/v1/files/{path=**}", "/v1/files", "path", ""),
            ("/v1/{path=files/**}:copy", "/v1/files/a:b:copy", "path", "files/a:b"),
            ("/v1/{path=files/**}:copy", "/v1/files:copy", "path", "files"),
            ("/{name=a/*}/b", "/a/c%2f/b", "name", "a/c%2f"),
        ];
        for (template, path, field, text) in rows {
            assert_eq!(captured(template, path), [(field.to_owned(), text.to_owned())], "{path}");
        }
    }

    #[test]
    fn wrong_templates_are_refused() {
        for text in [
            "v1/users",
            "/",
            "/a//b",
            "/{a",
            "/{a=**}/b",
            "/{a}/{a}",
            "/{}",
            "/a*b",
            "/a:",
            "/a%4",
            "/{a={b}}",
            "/a:{b}",
            "/{a=b",
            "/{a.}",
            "/{a=}",
            "/**/a",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn literals_are_compared_without_escapes() {
        let template = Template::parse("/caf%C3%A9/a b/x%2fy/a=b").unwrap();
        assert_eq!(template.shape(), Template::parse("/café/a%20b/x%2Fy/a%3Db").unwrap().shape());
        assert_eq!(template.openapi_path(), "/caf%C3%A9/a%20b/x%2Fy/a%3Db");
    }

    #[test]
    fn a_shape_forgets_names() {
        let shape = |text| Template::parse(text).unwrap().shape();
        assert_eq!(shape("/v1/users/{id}"), shape("/v1/users/{user_id}"));
        assert_ne!(shape("/v1/users/{id}"), shape("/v1/users/{id}:archive"));
        assert_ne!(shape("/v1/users/{id}"), shape("/v1/users/me"));
    }

    #[test]
    fn openapi_paths_keep_only_names() {
        let template = Template::parse("/v1/{name=shelves/*}/books/{id}:copy").unwrap();
        assert_eq!(template.openapi_path(), "/v1/{name}/books/{id}:copy");
    }

    #[test]
    fn openapi_paths_escape_what_is_no_wildcard_and_no_verb() {
        let template = Template::parse("/v1/%2A/a%3Db/c%3Ad:e").unwrap();
        assert_eq!(template.openapi_path(), "/v1/%2A/a%3Db/c%3Ad:e");
    }
}
