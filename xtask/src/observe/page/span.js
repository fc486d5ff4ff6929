// One span of a waterfall: its row, and below it what is known about it.

import { el, hue, link, service } from "/dom.js";
import { count, duration, plain } from "/text.js";

/** The row of a span and the row with its details, which is hidden until somebody asks for it. */
export function spanRows(row, extent, trace, opened) {
  const id = `span-${row.id}`;
  const details = el("tr", { id, class: "details", hidden: !opened.has(row.id) },
    el("td", { colspan: "4" }, known(row, trace)));
  const button = el("button", {
    type: "button", class: "name", "aria-controls": id, "aria-expanded": String(opened.has(row.id)), "data-key": row.id,
    onclick: () => {
      details.hidden = !details.hidden;
      button.setAttribute("aria-expanded", String(!details.hidden));
      if (details.hidden) opened.delete(row.id);
      else opened.add(row.id);
    },
  }, row.name);
  const name = el("th", { scope: "row" }, button, " ", badges(row));
  name.style.setProperty("--depth", Math.min(row.depth, 24));
  const shown = el("tr", { class: row.failed && "failed" },
    name,
    el("td", null, service(row.service)),
    el("td", { class: "number" }, duration(row.duration_ms)),
    el("td", { class: "lane" }, bar(row, extent)));
  return [shown, details];
}

/** Opens the details of a span and leads the keyboard to it. */
export function showSpan(root, id) {
  const button = id && root.querySelector(`button[aria-controls="span-${CSS.escape(id)}"]`);
  if (!button) return;
  if (button.getAttribute("aria-expanded") === "false") button.click();
  button.scrollIntoView({ block: "center" });
  button.focus({ preventScroll: true });
}

function badges(row) {
  const code = row.attributes["rpc.response.status_code"];
  return [
    row.kind === "consumer" || row.kind === "producer" ? el("span", { class: "badge" }, row.kind) : null,
    code && code !== "OK" ? el("span", { class: `badge ${row.failed ? "bad" : "warn"}` }, code) : null,
    row.failed && !code ? el("span", { class: "badge bad" }, "failed") : null,
    row.links.length ? el("span", { class: "badge" }, "linked") : null,
  ].filter(Boolean).flatMap((badge) => [badge, " "]);
}

/** The time in which it was done, as a part of the whole; dots are what happened within it. */
function bar(row, extent) {
  const part = (milliseconds) => `${Math.min(Math.max((milliseconds / extent) * 100, 0), 100)}%`;
  const time = el("span", { class: "bar" });
  time.style.left = part(row.start_ms);
  time.style.width = part(row.duration_ms);
  time.style.setProperty("--hue", hue(row.service));
  const dots = row.events.map((event) => {
    const dot = el("span", { class: "event" });
    dot.style.left = part(event.at_ms);
    return dot;
  });
  const told = `begins after ${duration(row.start_ms)}, takes ${duration(row.duration_ms)}`;
  return el("div", { class: "track", title: told }, time, dots);
}

function known(row, trace) {
  const code = (text) => el("code", null, text);
  const facts = [
    ["Span", code(row.id)],
    row.parent && ["Done for", code(row.parent), row.is_torn && " (not here: the caller's, or not sent)"],
    ["Kind", row.kind],
    ["Begins after", duration(row.start_ms)],
    row.status_message && ["Said", row.status_message],
    ...row.links.map((it) => ["Linked with", link({ trace: it.trace }, null, `span ${it.span} of trace ${it.trace}`)]),
  ].filter(Boolean);
  const lines = trace.lines.filter((line) => line.span === row.id).length;
  return el("div", { class: "known" },
    el("dl", null, facts.map(([name, ...value]) => fact(name, value.filter(Boolean)))),
    attributes("Attributes", row.attributes),
    row.events.map((event) => attributes(`${duration(event.at_ms)}: ${event.name}`, event.attributes)),
    lines > 0 && el("p", { class: "quiet" }, `${count(lines, "line")} of the log below.`));
}

function attributes(title, values) {
  const rows = Object.entries(values).map(([name, value]) => fact(name, [plain(value)]));
  if (!rows.length) return el("p", { class: "quiet" }, title);
  return [el("h3", null, title), el("dl", null, rows)];
}

function fact(name, value) {
  return el("div", null, el("dt", null, name), el("dd", null, ...value));
}
