//! The table of values in the chart's README: from the schema, which describes them, and the defaults.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::helm::default_values;
use super::objects::text;

const README: &str = "helm/README.md";
/// What stands before and after the table.
const MARKS: [&str; 2] = ["<!-- values -->\n", "<!-- /values -->\n"];
/// Defaults that are longer are not shown.
const MAX_DEFAULT: usize = 60;

/// Whether the table is that of the schema; `bless` makes it so.
pub(super) fn faults(root: &Path, bless: bool) -> anyhow::Result<Vec<String>> {
    let path = root.join(README);
    let readme =
        std::fs::read_to_string(&path).with_context(|| format!("{README} is not there"))?;
    let schema = std::fs::read_to_string(root.join("helm/values.schema.json"))?;
    let schema: Value = serde_json::from_str(&schema)?;
    let values = default_values(root)?;
    let [begin, end] = MARKS;
    let (before, rest) =
        readme.split_once(begin).with_context(|| format!("no {begin} in {README}"))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("no {end} in {README}"))?;
    let table = table(&schema, &values);
    let wanted = format!("{before}{begin}{table}{end}{after}");
    if wanted == readme {
        return Ok(Vec::new());
    }
    if bless {
        std::fs::write(&path, wanted)?;
        return Ok(Vec::new());
    }
    Ok(vec![format!("{README} has another table than the schema; cargo xtask chart check --bless")])
}

fn table(schema: &Value, values: &Value) -> String {
    let mut rows = String::from("| key | default | what it is |\n|---|---|---|\n");
    let shown = |name: &&String| schema["properties"][name.as_str()].get("deprecated").is_none();
    let names = schema["properties"].as_object().into_iter().flat_map(|it| it.keys()).filter(shown);
    for name in names {
        row(
            schema,
            name,
            &schema["properties"][name.as_str()],
            values.get(name.as_str()),
            &mut rows,
        );
    }
    let service = &schema["$defs"]["service"]["properties"];
    let of_all = &schema["$defs"]["defaults"]["properties"];
    for (name, property) in service.as_object().into_iter().flatten() {
        if of_all.get(name).is_none() {
            row(schema, &format!("services.<name>.{name}"), property, None, &mut rows);
        }
    }
    rows
}

/// One row; those of what is in it instead, where it has keys of its own.
fn row(schema: &Value, key: &str, property: &Value, default: Option<&Value>, rows: &mut String) {
    let defined = text(property, "/$ref").rsplit('/').next().filter(|name| !name.is_empty());
    let property = defined.map_or(property, |name| &schema["$defs"][name]);
    if let Some(inner) = property.get("properties").and_then(Value::as_object) {
        for (name, property) in inner {
            let default = default.and_then(|default| default.get(name));
            row(schema, &format!("{key}.{name}"), property, default, rows);
        }
        return;
    }
    let default = default.map(Value::to_string).unwrap_or_default();
    let default = match default.len() {
        0 => String::new(),
        1..=MAX_DEFAULT => format!("`{default}`"),
        _ => "see values.yaml".to_owned(),
    };
    let description = text(property, "/description").replace('|', "\\|");
    rows.push_str(&format!("| `{key}` | {default} | {description} |\n"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_key_and_none_for_those_that_are_gone() {
        let schema = json!({
            "$defs": {
                "defaults": {"properties": {"replicas": {"description": "How many."}}},
                "service": {"properties": {"replicas": {}, "port": {"description": "A | B."}}}
            },
            "properties": {
                "old": {"deprecated": true},
                "defaults": {"$ref": "#/$defs/defaults"},
                "image": {"properties": {"tag": {"description": "Tag."}}}
            }
        });
        let table = table(&schema, &json!({"defaults": {"replicas": 2}, "image": {"tag": ""}}));
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `defaults.replicas` | `2` | How many. |",
                "| `image.tag` | `\"\"` | Tag. |",
                "| `services.<name>.port` |  | A \\| B. |",
            ]
        );
    }
}
