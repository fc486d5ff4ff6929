//! Templates of paths and resources.

/// A path template of `google.api.http`, as that file's comments define it.
pub(super) struct PathTemplate {
    /// The field paths that it binds.
    pub(super) variables: Vec<String>,
    /// The template with variables reduced to what they match: two routes of one shape match the
    /// same requests.
    pub(super) shape: String,
}

impl PathTemplate {
    pub(super) fn parse(template: &str) -> Result<Self, String> {
        let path = template.strip_prefix('/').ok_or("it does not begin with /")?;
        let mut parser = Parser { rest: path, variables: Vec::new() };
        let mut shape = format!("/{}", parser.segments(true)?);
        if shape.split('/').rev().skip(1).any(|segment| segment == "**") {
            return Err("** must be the last segment".to_owned());
        }
        if let Some(verb) = parser.rest.strip_prefix(':') {
            parser.rest = verb;
            shape = format!("{shape}:{}", parser.literal()?);
        }
        if !parser.rest.is_empty() {
            return Err(format!("{:?} is not expected", parser.rest));
        }
        Ok(Self { variables: parser.variables, shape })
    }
}

struct Parser<'a> {
    rest: &'a str,
    variables: Vec<String>,
}

impl Parser<'_> {
    fn segments(&mut self, may_bind: bool) -> Result<String, String> {
        let mut shape = self.segment(may_bind)?;
        while let Some(rest) = self.rest.strip_prefix('/') {
            self.rest = rest;
            shape = format!("{shape}/{}", self.segment(may_bind)?);
        }
        Ok(shape)
    }

    fn segment(&mut self, may_bind: bool) -> Result<String, String> {
        for wildcard in ["**", "*"] {
            if let Some(rest) = self.rest.strip_prefix(wildcard) {
                self.rest = rest;
                return Ok(wildcard.to_owned());
            }
        }
        match self.rest.strip_prefix('{') {
            Some(_) if !may_bind => Err("a variable is inside another".to_owned()),
            Some(rest) => {
                self.rest = rest;
                self.variable()
            }
            None => self.literal(),
        }
    }

    fn variable(&mut self) -> Result<String, String> {
        let end = self.rest.find(['=', '}']).ok_or("a brace is not closed")?;
        let (path, rest) = self.rest.split_at(end);
        let is_name = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
        };
        if !path.split('.').all(is_name) {
            return Err(format!("{path:?} is no field path"));
        }
        if self.variables.iter().any(|known| known == path) {
            return Err(format!("{path} is bound twice"));
        }
        self.variables.push(path.to_owned());
        self.rest = rest;
        let shape = match self.rest.strip_prefix('=') {
            Some(rest) => {
                self.rest = rest;
                self.segments(false)?
            }
            None => "*".to_owned(),
        };
        self.rest = self.rest.strip_prefix('}').ok_or("a brace is not closed")?;
        Ok(shape)
    }

    /// Characters that a path segment may have (RFC 3986, section 3.3), save those with a meaning
    /// here.
    fn literal(&mut self) -> Result<String, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()+,;=@".contains(c);
        let end = self.rest.find(|c| !is_plain(c)).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at(end);
        if literal.is_empty() {
            return Err(match rest.chars().next() {
                Some(c) => format!("{c:?} is not expected"),
                None => "a segment is empty".to_owned(),
            });
        }
        self.rest = rest;
        Ok(literal.to_owned())
    }
}

/// The field paths between the braces of a resource template.
pub(super) fn placeholders(template: &str) -> Vec<Result<&str, String>> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(position) = rest.find(['{', '}']) {
        let after = &rest[position + 1..];
        match (rest.as_bytes()[position], after.split_once('}')) {
            (b'{', Some((path, after))) => {
                found.push(Ok(path));
                rest = after;
            }
            _ => {
                found.push(Err("its braces do not match".to_owned()));
                return found;
            }
        }
    }
    found
}
