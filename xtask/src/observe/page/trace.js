// One trace: what it was, its spans as a waterfall, and what was logged for it.

import { el, fill, link, service } from "/dom.js";
import { clock, count, duration, grade } from "/text.js";
import { showSpan, spanRows } from "/span.js";
import { lineTable } from "/logs.js";

export function open(root, parameters, app) {
  const state = { id: parameters.get("trace"), version: null, shown: "", open: new Set() };
  const request = parameters.get("request");
  const body = el("div", { onclick: (event) => showSpan(body, event.target.dataset.span) });
  root.append(body);
  document.title = "Trace – Mainstay";
  const waiting = (text) => {
    if (state.shown !== text) fill(body, el("h1", null, "Trace"), el("p", { class: "nothing", role: "status" }, text));
    state.shown = text;
  };

  async function refresh() {
    if (!state.id) {
      const found = await app.get(`/api/requests/${encodeURIComponent(request)}`);
      if (found.missing) return waiting(`No trace of the request ${request} has come yet. It is shown as soon as it does.`);
      state.id = found.trace;
    }
    const after = state.version === null ? "" : `?after=${state.version}`;
    const trace = await app.get(`/api/traces/${encodeURIComponent(state.id)}${after}`);
    if (trace === null) return;
    if (trace.missing) return waiting("This trace is not here: it has not come yet, or newer ones took its place.");
    state.version = trace.version;
    // What came since may have been of other traces: then what is open stays as it is.
    const shown = `${trace.summary.spans} ${trace.lines.length}`;
    if (shown === state.shown) return;
    state.shown = shown;
    fill(body, head(trace), waterfall(trace, state), lines(trace));
  }
  return { refresh };
}

function head(trace) {
  const { summary } = trace;
  document.title = `${summary.name} – Mainstay`;
  const status = summary.status || (summary.failed ? "failed" : "");
  const fact = (name, ...value) => el("div", null, el("dt", null, name), el("dd", null, ...value));
  return [
    el("p", { class: "back" }, link({}, null, "← All traces")),
    el("h1", null, summary.name, " ", status && el("span", { class: `badge ${grade(summary.status, summary.failed)}` }, status)),
    el("dl", { class: "facts" },
      fact("Began", clock(summary.start_ms)),
      fact("Answered after", duration(summary.duration_ms)),
      fact("All done after", duration(summary.extent_ms)),
      fact("Spans", String(summary.spans), summary.errors > 0 && `, ${summary.errors} failed`),
      fact("Services", summary.services.map(service)),
      ...summary.requests.map((id) => fact("Request", el("code", null, id))),
      fact("Trace", el("code", null, summary.id), " ", link({ view: "logs", text: summary.id }, null, "its log"))),
    trace.left_out > 0 && el("p", { class: "nothing" }, `${count(trace.left_out, "further span")} were too many to be kept.`),
  ];
}

function waterfall(trace, state) {
  const extent = Math.max(trace.summary.extent_ms, 0.001);
  const ticks = el("div", { class: "ticks", "aria-hidden": "true" },
    [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", null, duration(extent * part))));
  return el("section", { "aria-labelledby": "spans" },
    el("h2", { id: "spans" }, "Spans"),
    el("div", { class: "scroll" }, el("table", { class: "waterfall" },
      el("caption", null, "Spans, each below the one it was done for"),
      el("thead", null, el("tr", null,
        el("th", { scope: "col" }, "Span"), el("th", { scope: "col" }, "Service"),
        el("th", { scope: "col", class: "number" }, "Took"), el("th", { scope: "col" }, ticks))),
      el("tbody", null, trace.rows.flatMap((row) => spanRows(row, extent, trace, state.open))))));
}

function lines(trace) {
  return el("section", { "aria-labelledby": "log" },
    el("h2", { id: "log" }, "Log"),
    trace.lines.length
      ? lineTable(trace.lines, { begin: trace.summary.start_ms, names: new Map(trace.rows.map((row) => [row.id, row.name])) })
      : el("p", { class: "nothing" }, "Nothing was logged for it."));
}
