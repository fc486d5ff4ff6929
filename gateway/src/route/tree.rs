//! The compiled routes as a tree over path segments: a literal wins over `*`, `*` over `**`.
//!
//! A search goes along the path as it came: nothing is copied but segments with escapes. Its cost is
//! that of the path's segments, however many routes there are, unless literals and variables stand side
//! by side at many levels: a path that leads nowhere then costs a step for each node that it fits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use http::Method;

use super::percent;
use super::template::{Segment, Shape};

/// The method of a rule that leaves it open: `custom: { kind: "*" }`.
const ANY: &str = "*";

/// Values by path shape and HTTP method.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Box<str>, Node<T>>,
    any: Option<Box<Node<T>>>,
    rest: Option<Box<Node<T>>>,
    /// The values of paths that end here; few, for each is another method or verb.
    values: Vec<Value<T>>,
}

#[derive(Debug)]
struct Value<T> {
    verb: Option<String>,
    method: Method,
    value: Arc<T>,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found<'t, T> {
    /// A value for path and method.
    Value(&'t Arc<T>),
    /// The path is there, but only for these methods.
    OtherMethods(BTreeSet<String>),
    /// No such path.
    Nothing,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), any: None, rest: None, values: Vec::new() }
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
                Segment::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
                Segment::Any => node.any.get_or_insert_default(),
                Segment::Rest => node.rest.get_or_insert_default(),
            };
        }
        node.values.push(Value { verb: shape.verb.clone(), method, value });
    }

    /// Finds the value for a path, given without its leading `/`: the most specific one of that
    /// method. One whose last segment ends in a verb is tried with that verb first.
    pub(crate) fn find(&self, path: &str, method: &Method) -> Found<'_, T> {
        let verb = split_verb(path);
        let with_verb = verb.as_ref().map(|(stem, verb)| (*stem, Some(verb.as_str())));
        let ways = || with_verb.into_iter().chain([(path, None)]);
        for (path, verb) in ways() {
            let found = descend(&self.root, segments(path), &mut |node| {
                node.value(verb, method).map(|found| &found.value)
            });
            if let Some(value) = found {
                return Found::Value(value);
            }
        }
        let mut others = BTreeSet::new();
        for (path, verb) in ways() {
            descend(&self.root, segments(path), &mut |node| {
                others.extend(node.methods(verb));
                None
            });
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
    }
}

impl<T> Node<T> {
    /// The value for a method, or else for any.
    fn value(&self, verb: Option<&str>, method: &Method) -> Option<&Value<T>> {
        let with = |method: &str| {
            let fits = |value: &&Value<T>| {
                value.method.as_str() == method && value.verb.as_deref() == verb
            };
            self.values.iter().find(fits)
        };
        with(method.as_str()).or_else(|| with(ANY))
    }

    fn methods(&self, verb: Option<&str>) -> impl Iterator<Item = String> {
        let fits = move |value: &&Value<T>| value.verb.as_deref() == verb;
        self.values.iter().filter(fits).map(|value| value.method.to_string())
    }
}

/// What is done where a path ends: the value that is wanted, if it is there.
type Take<'t, 'f, T> = dyn FnMut(&'t Node<T>) -> Option<&'t Arc<T>> + 'f;

/// Goes down all ways that fit, the most specific first, until `take` has what it wants.
fn descend<'t, T>(
    node: &'t Node<T>,
    path: Option<&str>,
    take: &mut Take<'t, '_, T>,
) -> Option<&'t Arc<T>> {
    let Some(path) = path else {
        return take(node).or_else(|| node.rest.as_deref().and_then(take));
    };
    let (first, left) = match path.split_once('/') {
        Some((first, left)) => (first, Some(left)),
        None => (path, None),
    };
    if first.is_empty() {
        return None;
    }
    // A segment that is not text equals no literal, and is refused where a variable takes it.
    if let Ok(text) = percent::decode_segment(first)
        && let Some(next) = node.literals.get(&*text)
        && let Some(found) = descend(next, left, take)
    {
        return Some(found);
    }
    if let Some(next) = node.any.as_deref()
        && let Some(found) = descend(next, left, take)
    {
        return Some(found);
    }
    node.rest.as_deref().and_then(take)
}

/// The path as its segments; none where it is empty.
fn segments(path: &str) -> Option<&str> {
    (!path.is_empty()).then_some(path)
}

/// A path before the last colon of its last segment, and the verb behind it, decoded.
fn split_verb(path: &str) -> Option<(&str, String)> {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    let colon = last + path.get(last..)?.rfind(':')?;
    let verb = percent::decode(path.get(colon + 1..)?).ok()?;
    Some((path.get(..colon)?, verb))
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
        match tree.find(&path[1..], &method.parse().unwrap()) {
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
            ("*", "/users/me"),
            ("REPORT", "/files/index"),
            ("GET", "/caf%C3%A9"),
            ("GET", "/ratio/a%3Ab"),
        ]);
        let rows = [
            ("GET", "/users/me", "/users/me"),
            ("GET", "/users/7", "/users/{id}"),
            ("GET", "/users/a:b", "/users/{id}"),
            ("DELETE", "/users/me", "/users/me"),
            ("POST", "/users/7:ban", "/users/{id}:ban"),
            ("POST", "/users/me", "/users/me"),
            ("POST", "/users/you", "DELETE,GET"),
            ("GET", "/users/m%65", "/users/me"),
            ("POST", "/users/7%3Aban", "DELETE,GET"),
            ("REPORT", "/files/index", "/files/index"),
            ("REPORT", "/files/other", "GET"),
            ("GET", "/caf%c3%a9", "/caf%C3%A9"),
            ("GET", "/café", "/caf%C3%A9"),
            ("GET", "/ratio/a%3Ab", "/ratio/a%3Ab"),
            ("GET", "/%ff", "nothing"),
            ("GET", "/", "nothing"),
            ("GET", "/files/index", "/files/index"),
            ("GET", "/files/a/b/c", "/files/{path=**}"),
            ("GET", "/files", "/files/{path=**}"),
            ("GET", "/files/", "nothing"),
            ("GET", "/users/", "nothing"),
            ("GET", "/users//me", "nothing"),
            ("GET", "/users/7/posts", "nothing"),
        ];
        for (method, path, expected) in rows {
            assert_eq!(find(&tree, method, path), expected, "{method} {path}");
        }
    }
}
