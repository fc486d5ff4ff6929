// The list of the newest traces.

import { address, el, fill, link, service, table } from "/dom.js";
import { clock, count, duration, grade } from "/text.js";

const HEADINGS = ["Began", "What", "Status", "Services", { text: "Spans", number: true }, { text: "Took", number: true }];

export function open(root, parameters, app) {
  const state = { version: null, shown: "" };
  const filter = filterForm(parameters, () => {
    app.change(address({ ...filter.values() }));
    state.version = null;
    app.refresh();
  });
  const told = el("p", { class: "told", role: "status" });
  const list = el("div");
  root.append(el("h1", null, "Traces"), filter.form, told, list);
  document.title = "Traces – Mainstay";

  async function refresh() {
    const query = new URLSearchParams(Object.entries(filter.values()).filter(([, value]) => value));
    if (state.version !== null) query.set("after", state.version);
    const answer = await app.get(`/api/traces?${query}`);
    if (answer === null) return;
    if (answer.missing) throw new Error(answer.missing);
    state.version = answer.version;
    filter.offer(answer.services);
    const shown = JSON.stringify(answer.traces);
    if (shown === state.shown) return;
    state.shown = shown;
    told.textContent = answer.kept === answer.traces.length
      ? `${count(answer.kept, "trace")}, the newest first`
      : `${answer.traces.length} of ${count(answer.kept, "trace")}, the newest first`;
    fill(list, answer.traces.length ? rows(answer.traces) : nothing(answer.kept));
  }
  return { refresh };
}

function rows(traces) {
  const longest = Math.max(...traces.map((trace) => trace.duration_ms), 0.001);
  return table("Traces, the newest first", HEADINGS, traces.map((trace) => row(trace, longest)), { class: "traces" });
}

function row(trace, longest) {
  const bar = el("span", { class: "share", "aria-hidden": "true" });
  bar.style.width = `${Math.max((trace.duration_ms / longest) * 100, 1)}%`;
  const status = trace.status || (trace.failed ? "failed" : "");
  const errors = trace.errors > 0 && el("span", { class: "badge bad" }, count(trace.errors, "error"));
  return el("tr", { class: trace.failed && "failed" },
    el("td", { class: "quiet time" }, el("time", { datetime: new Date(trace.start_ms).toISOString() }, clock(trace.start_ms))),
    el("th", { scope: "row" },
      link({ trace: trace.id }, { class: "cover", "data-key": trace.id }, trace.name),
      [...trace.requests].slice(0, 1).map((id) => el("small", { class: "quiet" }, id))),
    el("td", null, status && el("span", { class: `badge ${grade(trace.status, trace.failed)}` }, status)),
    el("td", { class: "services" }, trace.services.map(service)),
    el("td", { class: "number" }, String(trace.spans), " ", errors),
    el("td", { class: "number took" }, duration(trace.duration_ms), bar));
}

function nothing(kept) {
  return el("p", { class: "nothing" }, kept
    ? "No trace is as the filter wants it."
    : "No trace yet. Make a call: it is here a second later.");
}

/** The form with the filter; `changed` is called when it has. */
function filterForm(parameters, changed) {
  const text = el("input", {
    type: "search", name: "text", value: parameters.get("text") ?? "", autocomplete: "off", spellcheck: "false",
    placeholder: "Request id, route, attribute, log line", "aria-keyshortcuts": "/",
  });
  const chosen = el("select", { name: "service" }, el("option", { value: "" }, "All"));
  const least = el("input", { type: "number", name: "min_ms", min: "0", step: "any", value: parameters.get("min_ms") ?? "" });
  const check = (name) => el("input", { type: "checkbox", name, checked: parameters.get(name) === "true" });
  const [errors, background] = [check("errors"), check("background")];
  let wanted = parameters.get("service") ?? "";
  chosen.addEventListener("change", () => { wanted = chosen.value; });
  const form = el("form", { class: "filter", role: "search", onsubmit: (event) => event.preventDefault(), oninput: changed },
    el("label", { class: "wide" }, "Search ", text),
    el("label", null, "Service ", chosen),
    el("label", null, "Took at least (ms) ", least),
    el("label", { class: "check" }, errors, " Errors only"),
    el("label", { class: "check" }, background, " Background work too"));

  /** The services that can be chosen. */
  function offer(services) {
    const all = [...new Set([...services, ...(wanted ? [wanted] : [])])].sort();
    if (chosen.options.length === all.length + 1) return;
    const options = all.map((name) => el("option", { value: name, selected: name === wanted }, name));
    fill(chosen, el("option", { value: "" }, "All"), options);
  }

  const values = () => ({
    text: text.value.trim(), service: wanted, min_ms: least.value,
    errors: errors.checked && "true", background: background.checked && "true",
  });
  offer([]);
  return { form, values, offer };
}
