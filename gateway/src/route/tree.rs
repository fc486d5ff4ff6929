//! The compiled routes as a tree over path segments: a literal wins over `*`, `*` over `**`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use http::Method;

use super::percent;
use super::template::{Segment, Shape};

/// Values by path shape and HTTP method.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<String, Node<T>>,
    any: Option<Box<Node<T>>>,
    rest: Option<Box<Node<T>>>,
    values: HashMap<(Option<String>, Method), Arc<T>>,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// A value for path and method.
    Value(Arc<T>),
    /// The path is there, but only for these methods.
    OtherMethods(BTreeSet<String>),
    /// No such path.
    Nothing,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), any: None, rest: None, values: HashMap::new() }
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Tree<T> {
    /// Adds a value; the caller has seen to it that there is none for that shape and method.
    pub(crate) fn insert(&mut self, shape: &Shape, method: Method, value: Arc<T>) {
        let mut node = &mut self.root;
        for segment in &shape.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Any => node.any.get_or_insert_default(),
                Segment::Rest => node.rest.get_or_insert_default(),
            };
        }
        node.values.insert((shape.verb.clone(), method), value);
    }

    /// Finds the value for the decoded segments of a path: the most specific one of that method.
    pub(crate) fn find(&self, path: &Path, method: &Method) -> Found<T> {
        let mut others = BTreeSet::new();
        if let Some((stem, verb)) = &path.verb {
            let before = &path.segments[..path.segments.len() - 1];
            let stemmed: Vec<String> = before.iter().chain([stem]).cloned().collect();
            let mut search = Search { method, verb: Some(verb.clone()), others: &mut others };
            if let Some(value) = search.descend(&self.root, &stemmed) {
                return Found::Value(value);
            }
        }
        let mut search = Search { method, verb: None, others: &mut others };
        match search.descend(&self.root, &path.segments) {
            Some(value) => Found::Value(value),
            None if others.is_empty() => Found::Nothing,
            None => Found::OtherMethods(others),
        }
    }
}

/// A request's path, taken apart for a search.
#[derive(Debug)]
pub(crate) struct Path<'a> {
    /// The segments as they came.
    pub(crate) raw: Vec<&'a str>,
    /// The segments, decoded.
    pub(crate) segments: Vec<String>,
    /// The last segment at its last colon, decoded.
    verb: Option<(String, String)>,
}

impl<'a> Path<'a> {
    /// Takes a path apart; `None` where it is no path of ours: not absolute or not text.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let raw: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let decoded: Result<Vec<String>, _> = raw.iter().map(|raw| percent::decode(raw)).collect();
        let verb = raw
            .last()
            .and_then(|last| last.rsplit_once(':'))
            .and_then(|(stem, verb)| percent::decode(stem).ok().zip(percent::decode(verb).ok()));
        // A segment that is not text equals no literal, and is refused where a variable takes it.
        let segments = decoded.unwrap_or_else(|_| raw.iter().map(|raw| raw.to_string()).collect());
        Some(Self { raw, segments, verb })
    }

    /// The raw segments as a template with that verb has them.
    pub(crate) fn raw_without(&self, verb: Option<&str>) -> Vec<&'a str> {
        let mut raw = self.raw.clone();
        if let (Some(_), Some(last)) = (verb, raw.last_mut()) {
            *last = last.rsplit_once(':').map_or(*last, |(stem, _)| stem);
        }
        raw
    }
}

struct Search<'a> {
    method: &'a Method,
    verb: Option<String>,
    others: &'a mut BTreeSet<String>,
}

impl Search<'_> {
    fn descend<T>(&mut self, node: &Node<T>, segments: &[String]) -> Option<Arc<T>> {
        let Some((first, left)) = segments.split_first() else { return self.take(node) };
        if let Some(found) = node.literals.get(first).and_then(|next| self.descend(next, left)) {
            return Some(found);
        }
        if first.is_empty() {
            return None;
        }
        if let Some(found) = node.any.as_deref().and_then(|next| self.descend(next, left)) {
            return Some(found);
        }
        node.rest.as_deref().and_then(|next| self.take(next))
    }

    fn take<T>(&mut self, node: &Node<T>) -> Option<Arc<T>> {
        let found = node.values.get(&(self.verb.clone(), self.method.clone())).cloned();
        if found.is_none() {
            let methods = node.values.keys().filter(|(verb, _)| *verb == self.verb);
            self.others.extend(methods.map(|(_, method)| method.to_string()));
        }
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::super::template::Template;
    use super::*;

    fn tree(routes: &[(&str, &'static str)]) -> Tree<String> {
        let mut tree = Tree::default();
        for (method, path) in routes {
            let shape = Template::parse(path).unwrap().shape();
            let method = method.parse().unwrap();
            tree.insert(&shape, method, Arc::new((*path).to_owned()));
        }
        tree
    }

    fn find(tree: &Tree<String>, method: &str, path: &str) -> String {
        match tree.find(&Path::parse(path).unwrap(), &method.parse().unwrap()) {
            Found::Value(value) => value.to_string(),
            Found::OtherMethods(methods) => methods.into_iter().collect::<Vec<_>>().join(","),
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn the_most_specific_route_of_the_method_wins() {
        let tree = tree(&[
            ("GET", "/users/me"),
            ("GET", "/users/{id}"),
            ("DELETE", "/users/{id}"),
            ("POST", "/users/{id}:ban"),
            ("GET", "/files/{path=**}"),
            ("GET", "/files/index"),
        ]);
        let rows = [
            ("GET", "/users/me", "/users/me"),
            ("GET", "/users/7", "/users/{id}"),
            ("GET", "/users/a:b", "/users/{id}"),
            ("DELETE", "/users/me", "/users/{id}"),
            ("POST", "/users/7:ban", "/users/{id}:ban"),
            ("POST", "/users/me", "DELETE,GET"),
            ("GET", "/files/index", "/files/index"),
            ("GET", "/files/a/b/c", "/files/{path=**}"),
            ("GET", "/files", "nothing"),
            ("GET", "/users/", "nothing"),
            ("GET", "/users//me", "nothing"),
            ("GET", "/users/7/posts", "nothing"),
        ];
        for (method, path, expected) in rows {
            assert_eq!(find(&tree, method, path), expected, "{method} {path}");
        }
    }
}
