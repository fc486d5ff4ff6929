//! A dashboard as it is defined here, and as Grafana reads it.

use serde_json::{Value, json};

use super::query::quantile;

/// What Grafana calls the version of its JSON; newer ones read older versions.
const SCHEMA_VERSION: u32 = 41;

/// How many columns a row of panels has.
const COLUMNS: u64 = 24;

/// How high a panel is; a row's title is one high.
const HEIGHT: u64 = 8;
const SMALL_HEIGHT: u64 = 4;

/// One dashboard.
pub(super) struct Board {
    /// Its name in addresses, and of its file.
    pub(super) uid: String,
    pub(super) title: String,
    pub(super) about: &'static str,
    /// What every selector begins with: `{@` in an expression becomes `{` and this.
    pub(super) scope: String,
    pub(super) rows: Vec<Row>,
}

/// Panels that belong together.
pub(super) struct Row {
    title: &'static str,
    panels: Vec<Panel>,
}

/// One panel.
pub(super) struct Panel {
    title: &'static str,
    kind: Kind,
    unit: &'static str,
    about: &'static str,
    width: u64,
    queries: Vec<Query>,
    /// From which value on it is red.
    red_from: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Graph,
    Stat,
    Table,
    Map,
}

struct Query {
    expression: String,
    legend: &'static str,
    /// What a map tells nodes from edges by.
    name: Option<&'static str>,
}

/// A row.
pub(super) fn row(title: &'static str, panels: Vec<Panel>) -> Row {
    Row { title, panels }
}

/// Curves over time; `unit` as Grafana names it, such as `s` or `reqps`.
pub(super) fn graph(title: &'static str, unit: &'static str) -> Panel {
    Panel::new(title, Kind::Graph, unit, 12)
}

/// One number, that of now.
pub(super) fn stat(title: &'static str, unit: &'static str) -> Panel {
    Panel::new(title, Kind::Stat, unit, 4)
}

/// A table of what is now.
pub(super) fn table(title: &'static str, unit: &'static str) -> Panel {
    Panel::new(title, Kind::Table, unit, 12)
}

/// Circles and arrows, from the queries `nodes` (label `id`) and `edges` (labels `source`, `target`).
pub(super) fn map(title: &'static str, unit: &'static str) -> Panel {
    Panel::new(title, Kind::Map, unit, 12)
}

impl Panel {
    fn new(title: &'static str, kind: Kind, unit: &'static str, width: u64) -> Self {
        Self { title, kind, unit, about: "", width, queries: Vec::new(), red_from: None }
    }

    /// Adds a query; `legend` names a curve by its labels.
    pub(super) fn query(mut self, expression: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push(Query { expression: expression.into(), legend, name: None });
        self
    }

    /// Adds queries for within what a half, and nearly all, of a histogram's observations lie.
    pub(super) fn percentiles(self, histogram: &str) -> Self {
        let parts = [("0.5", "50 %"), ("0.95", "95 %"), ("0.99", "99 %")];
        parts
            .into_iter()
            .fold(self, |panel, (part, legend)| panel.query(quantile(part, "", histogram), legend))
    }

    /// Adds a query of a map.
    pub(super) fn named(mut self, name: &'static str, expression: &str) -> Self {
        self.queries.push(Query {
            expression: expression.to_owned(),
            legend: "",
            name: Some(name),
        });
        self
    }

    /// What a reader should know.
    pub(super) fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Red from this value on.
    pub(super) fn red_from(mut self, value: f64) -> Self {
        self.red_from = Some(value);
        self
    }

    /// How many of the 24 columns it takes.
    pub(super) fn wide(mut self, columns: u64) -> Self {
        self.width = columns;
        self
    }

    fn height(&self) -> u64 {
        if self.kind == Kind::Stat { SMALL_HEIGHT } else { HEIGHT }
    }

    fn json(&self, id: u64, (x, y): (u64, u64), scope: &str) -> Value {
        let kind = match self.kind {
            Kind::Graph => "timeseries",
            Kind::Stat => "stat",
            Kind::Table => "table",
            Kind::Map => "nodeGraph",
        };
        json!({
            "id": id,
            "type": kind,
            "title": self.title,
            "description": self.about,
            "datasource": data_source(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height()},
            "fieldConfig": {"defaults": self.defaults(), "overrides": []},
            "options": self.options(),
            "targets": self.targets(scope),
            "transformations": self.transformations(),
        })
    }

    fn defaults(&self) -> Value {
        let mut steps = vec![json!({"color": "green", "value": null})];
        steps.extend(self.red_from.map(|value| json!({"color": "red", "value": value})));
        let mut defaults =
            json!({"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}});
        if self.kind == Kind::Graph {
            defaults["min"] = json!(0);
            defaults["custom"] = json!({
                "fillOpacity": 8,
                "showPoints": "never",
                "thresholdsStyle": {"mode": if self.red_from.is_some() { "line" } else { "off" }},
            });
        }
        defaults
    }

    fn options(&self) -> Value {
        match self.kind {
            Kind::Graph => json!({
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Kind::Stat => json!({
                "reduceOptions": {"calcs": ["lastNotNull"]},
                "graphMode": "area",
                "colorMode": if self.red_from.is_some() { "background" } else { "value" },
            }),
            Kind::Table | Kind::Map => json!({}),
        }
    }

    fn targets(&self, scope: &str) -> Vec<Value> {
        let is_of_now = self.kind != Kind::Graph;
        let letters = ('A'..='Z').map(String::from);
        let target = |(query, letter): (&Query, String)| {
            json!({
                "refId": query.name.map_or(letter, str::to_owned),
                "datasource": data_source(),
                "expr": query.expression.replace("{@", &format!("{{{scope}")),
                "legendFormat": query.legend,
                "instant": is_of_now,
                "range": !is_of_now,
                "format": if matches!(self.kind, Kind::Table | Kind::Map) { "table" } else { "time_series" },
                "exemplar": !is_of_now && has_exemplars(&query.expression),
            })
        };
        self.queries.iter().zip(letters).map(target).collect()
    }

    /// The time of a table is that of now, and a map wants its numbers named.
    fn transformations(&self) -> Value {
        match self.kind {
            Kind::Graph | Kind::Stat => json!([]),
            Kind::Table => json!([{
                "id": "organize",
                "options": {"excludeByName": {"Time": true}, "renameByName": {"Value": self.title}},
            }]),
            Kind::Map => json!([{
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": true},
                    "renameByName": {"Value #nodes": "mainstat", "Value #edges": "mainstat"},
                },
            }]),
        }
    }
}

impl Board {
    /// What Grafana reads.
    pub(super) fn json(&self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["mainstay"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": false,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "timezone": "utc",
            "templating": {"list": self.variables()},
            "links": [{
                "type": "dashboards",
                "tags": ["mainstay"],
                "title": "Mainstay",
                "asDropdown": true,
                "includeVars": true,
                "keepTime": true,
            }],
            "panels": self.panels(),
        })
    }

    fn variables(&self) -> Vec<Value> {
        let source = json!({"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"});
        let namespace = json!({
            "name": "namespace",
            "label": "Namespace",
            "type": "query",
            "datasource": data_source(),
            "query": {"query": "label_values(mainstay_build_info{}, namespace)", "refId": "namespaces"},
            "refresh": 2,
            "sort": 1,
        });
        let target = json!({
            "name": "target",
            "label": "Availability target",
            "type": "textbox",
            "query": "0.999",
            "current": {"text": "0.999", "value": "0.999"},
        });
        let panels = self.rows.iter().flat_map(|row| &row.panels);
        let mut queries = panels.flat_map(|panel| &panel.queries);
        let uses_target = queries.any(|query| query.expression.contains("$target"));
        [source, namespace].into_iter().chain(uses_target.then_some(target)).collect()
    }

    fn panels(&self) -> Vec<Value> {
        let mut panels = Vec::new();
        let mut y = 0;
        for row in &self.rows {
            let id = panels.len() as u64 + 1;
            panels.push(json!({
                "id": id, "type": "row", "title": row.title, "collapsed": false,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}, "panels": [],
            }));
            y = self.place(row, y + 1, &mut panels);
        }
        panels
    }

    /// Puts a row's panels beside and below each other; answers where the next row begins.
    fn place(&self, row: &Row, top: u64, panels: &mut Vec<Value>) -> u64 {
        let (mut x, mut y, mut below) = (0, top, top);
        for panel in &row.panels {
            if x + panel.width > COLUMNS {
                (x, y) = (0, below);
            }
            panels.push(panel.json(panels.len() as u64 + 1, (x, y), &self.scope));
            x += panel.width;
            below = below.max(y + panel.height());
        }
        below
    }
}

fn data_source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Whether what is shown names traces: the durations of requests and calls do.
fn has_exemplars(expression: &str) -> bool {
    ["_call_duration_seconds_bucket", "_request_duration_seconds_bucket"]
        .iter()
        .any(|buckets| expression.contains(buckets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_stand_side_by_side_and_selectors_have_the_scope() {
        let panels = vec![
            graph("A", "s").query("sum(a{@,x=\"1\"})", "a"),
            graph("B", "s").query("b{@}", "b"),
            stat("C", "s").query("c{@}", ""),
        ];
        let rows = vec![row("One", panels), row("Two", vec![stat("D", "s").query("d{@}", "")])];
        let scope = "job=\"z\"".to_owned();
        let board = Board { uid: "u".into(), title: "T".into(), about: "", scope, rows };
        let panels = board.panels();
        let at: Vec<_> = panels
            .iter()
            .map(|panel| (panel["gridPos"]["x"].as_u64(), panel["gridPos"]["y"].as_u64()))
            .collect();
        let at = |index: usize| (at[index].0.unwrap(), at[index].1.unwrap());
        assert_eq!([at(0), at(1), at(2), at(3)], [(0, 0), (0, 1), (12, 1), (0, 9)]);
        assert_eq!([at(4), at(5)], [(0, 13), (0, 14)]);
        assert_eq!(panels[1]["targets"][0]["expr"], "sum(a{job=\"z\",x=\"1\"})");
        assert_eq!(panels[2]["targets"][0]["expr"], "b{job=\"z\"}");
    }
}
