// The newest log lines of all processes.

import { address, el, fill, link, service, table } from "/dom.js";
import { clock, count, duration, plain } from "/text.js";

const LEVELS = ["error", "warn", "info", "debug"];

export function open(root, parameters, app) {
  const state = { version: null, shown: "" };
  const text = el("input", {
    type: "search", name: "text", value: parameters.get("text") ?? "", autocomplete: "off", spellcheck: "false",
    placeholder: "Message, field, request id, trace id", "aria-keyshortcuts": "/",
  });
  const chosen = el("select", { name: "service" }, el("option", { value: "" }, "All"));
  const level = el("select", { name: "level" }, el("option", { value: "" }, "All"),
    LEVELS.map((it) => el("option", { value: it, selected: it === parameters.get("level") }, it === "error" ? it : `${it} and graver`)));
  let wanted = parameters.get("service") ?? "";
  const values = () => ({ text: text.value.trim(), service: wanted, level: level.value });
  const changed = () => {
    wanted = chosen.value;
    app.change(address({ view: "logs", ...values() }));
    state.version = null;
    app.refresh();
  };
  const form = el("form", { class: "filter", role: "search", onsubmit: (event) => event.preventDefault(), oninput: changed },
    el("label", { class: "wide" }, "Search ", text),
    el("label", null, "Service ", chosen),
    el("label", null, "Level ", level));
  const told = el("p", { class: "told", role: "status" });
  const list = el("div");
  root.append(el("h1", null, "Logs"), form, told, list);
  document.title = "Logs – Mainstay";

  async function refresh() {
    const query = new URLSearchParams(Object.entries(values()).filter(([, value]) => value));
    if (state.version !== null) query.set("after", state.version);
    const answer = await app.get(`/api/logs?${query}`);
    if (answer === null) return;
    state.version = answer.version;
    if (chosen.options.length === 1) {
      chosen.append(...answer.services.map((name) => el("option", { value: name, selected: name === wanted }, name)));
    }
    const shown = JSON.stringify(answer.lines);
    if (shown === state.shown) return;
    state.shown = shown;
    told.textContent = `${count(answer.lines.length, "line")}, the newest first`;
    const lines = answer.lines.reverse();
    fill(list, lines.length ? lineTable(lines, {}) : el("p", { class: "nothing" }, "No line is as the filter wants it."));
  }
  return { refresh };
}

/** Lines as a table with the way to their traces; those of one trace with the time since its `begin`, and with the way
 * to their spans, whose `names` are given. */
export function lineTable(lines, { begin, names }) {
  const headings = [begin ? "After" : "Time", "Service", "Level", "Message", begin ? "Span" : "Trace"];
  return table("Log lines", headings, lines.map((line) => row(line, begin, names)), { class: "lines" });
}

function row(line, begin, names) {
  const fields = Object.entries(line.fields).map(([name, value]) =>
    el("span", { class: "field" }, el("span", { class: "quiet" }, `${name}=`), plain(value)));
  const time = begin ? duration(Math.max(Date.parse(line.time) - begin, 0)) : clock(line.time);
  const trace = line.trace && link({ trace: line.trace }, { "data-key": `line-${line.number}`, "aria-label": `Trace of: ${line.message}` }, "trace");
  const span = names?.has(line.span) && el("button", { type: "button", class: "to-span", "data-span": line.span }, names.get(line.span));
  return el("tr", { class: `level-${LEVELS.includes(line.level) ? line.level : "none"}` },
    el("td", { class: "quiet time" }, time),
    el("td", null, service(line.service)),
    el("td", null, line.level),
    el("td", { class: "message" }, el("span", null, line.message), " ", fields.flatMap((field) => [field, " "]),
      line.request && el("span", { class: "field" }, el("span", { class: "quiet" }, "request_id="), line.request)),
    el("td", null, begin ? span : trace));
}
