//! Reads what `/metrics` says: one sample a line, in the OpenMetrics text format.

use std::collections::BTreeMap;

/// What tells one row of numbers from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Series {
    /// Name of the metric, with `_bucket`, `_count`, `_sum` or `_total`.
    pub(crate) name: String,
    labels: BTreeMap<String, String>,
}

impl Series {
    /// A label; empty if there is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// The numbers of the series whose names are wanted. A line that cannot be read is left out.
pub(crate) fn read(page: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<(Series, f64)> {
    let named = page.lines().filter(|line| {
        !line.starts_with('#') && is_wanted(line.split(['{', ' ']).next().unwrap_or_default())
    });
    named.filter_map(sample).collect()
}

fn sample(line: &str) -> Option<(Series, f64)> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((Series { name: name.to_owned(), labels }, value))
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(name.to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// A text up to its closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels_and_the_rest_is_left_out() {
        let page = "# TYPE a counter\n\
            a_total{route=\"/x/{id}\",why=\"say \\\"no\\\", \\\\\"} 3 1700000000\n\
            a_bucket{le=\"+Inf\"} 4\nbusy 0.25\nother 1\na_broken{x=\"1 2\nbusy x\n# EOF\n";
        let samples = read(page, |name| name.starts_with('a') || name == "busy");
        let told: Vec<_> =
            samples.iter().map(|(series, value)| (series.name.as_str(), *value)).collect();
        assert_eq!(told, [("a_total", 3.0), ("a_bucket", 4.0), ("busy", 0.25)]);
        assert_eq!(samples[0].0.label("route"), "/x/{id}");
        assert_eq!(samples[0].0.label("why"), "say \"no\", \\");
        assert_eq!((samples[1].0.label("le"), samples[2].0.label("le")), ("+Inf", ""));
    }
}
