//! Path templates of `google.api.http`: `/api/v1/users/{user_id}`, `/v1/{name=shelves/*}:archive`.
//!
//! A template compiles to a flat list of segments, each a literal or a wildcard, and to the
//! variables that span some of them. Two templates that match the same paths have the same
//! [`Shape`], which is what conflicts are judged by.

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
    /// This very text.
    Literal(String),
    /// `*`: any one segment that is not empty.
    Any,
    /// `**`: all that is left, at least one segment.
    Rest,
}

/// A request field that a part of the path fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Path of the field, such as `["user", "id"]`.
    pub(crate) field: Vec<String>,
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
    pub(crate) field: Vec<String>,
    /// The decoded text; an error when its bytes are not UTF-8.
    pub(crate) text: Result<String, percent::NotText>,
}

impl Template {
    /// Compiles a template. The message of an error says where it is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("a path template begins with `/`")?;
        let (path, verb) = split_verb(rest);
        let mut template = Self {
            text: text.to_owned(),
            segments: Vec::new(),
            verb: verb.map(str::to_owned),
            variables: Vec::new(),
        };
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
                    path.push_str(match &self.segments[index] {
                        Segment::Literal(literal) => literal,
                        Segment::Any => "*",
                        Segment::Rest => "**",
                    });
                    index += 1;
                }
            }
        }
        if let Some(verb) = &self.verb {
            path.push(':');
            path.push_str(verb);
        }
        path
    }

    /// The custom verb after the last colon.
    pub(crate) fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// The variables, in the order of the path.
    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// What the template matches, whatever its variables are called.
    pub(crate) fn shape(&self) -> Shape {
        Shape { segments: self.segments.clone(), verb: self.verb.clone() }
    }

    /// What the variables are in a path that matches, given its raw segments without the verb.
    pub(crate) fn captures(&self, path: &[&str]) -> Vec<Capture> {
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
        if self.variables.iter().any(|variable| variable.field == field) {
            return Err(format!("`{}` is bound twice", field.join(".")));
        }
        self.variables.push(Variable { field, start, end: self.segments.len(), open });
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
    fn capture(&self, path: &[&str]) -> Capture {
        let end = if self.open { path.len() } else { self.end };
        let raw = path.get(self.start..end).unwrap_or_default().join("/");
        let several = self.open || self.end - self.start > 1;
        let text = if several { percent::decode_path(&raw) } else { percent::decode(&raw) };
        Capture { field: self.field.clone(), text }
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
        literal if literal.contains(['*', '{', '}', '=', '?', '#', '%']) => {
            Err(format!("`{literal}` is no segment"))
        }
        literal => Ok(Segment::Literal(literal.to_owned())),
    }
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
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let captures = Template::parse(template).unwrap().captures(&segments);
        captures.into_iter().map(|found| (found.field.join("."), found.text.unwrap())).collect()
    }

    #[test]
    fn variables_take_their_part_of_the_path() {
        let rows = [
            ("/v1/users/{user_id}", "/v1/users/7", "user_id", "7"),
            ("/v1/users/{user_id}", "/v1/users/a%2Fb%20c", "user_id", "a/b c"),
            ("/v1/{name=shelves/*}", "/v1/shelves/3", "name", "shelves/3"),
            ("/v1/{book.id}/pages", "/v1/9/pages", "book.id", "9"),
            ("/v1/files/{path=**}", "/v1/files/a/b%2Fc/d", "path", "a/b%2Fc/d"),
        ];
        for (template, path, field, text) in rows {
            assert_eq!(captured(template, path), [(field.to_owned(), text.to_owned())], "{path}");
        }
    }

    #[test]
    fn wrong_templates_are_refused() {
        for text in ["v1/users", "/", "/a//b", "/{a", "/{a=**}/b", "/{a}/{a}", "/{}", "/a*b"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
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
}
