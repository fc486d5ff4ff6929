// What the processes measure of themselves: the few numbers that a developer looks at first.

import { el, fill, service, table } from "/dom.js";
import { duration, number, share } from "/text.js";

const count = (text) => ({ text, number: true });

export function open(root, _parameters, app) {
  const body = el("div");
  root.append(el("h1", null, "Metrics"),
    el("p", { class: "told" }, "Rates are those of the last minute. Shares and durations in grey are those since the process began: there was no call in the last minute."),
    body);
  document.title = "Metrics – Mainstay";
  let shown = "";

  async function refresh() {
    const report = await app.get("/api/metrics");
    const text = JSON.stringify(report);
    if (text === shown) return;
    shown = text;
    fill(body,
      section("processes", "Processes", processes(report.services)),
      section("routes", "Routes of the gateway", calls(report.routes, false)),
      section("methods", "Methods of the services", calls(report.methods, true)),
      section("consumers", "Consumers of events", consumers(report.consumers)));
  }
  return { refresh };
}

function section(id, title, content) {
  return el("section", { "aria-labelledby": id }, el("h2", { id }, title), content);
}

function processes(rows) {
  const headings = ["Process", "State", count("In flight"), count("Threads busy"), count("Connections used"), count("Connections idle"),
    count("Outbox"), count("Oldest event"), count("System errors"), count("Failed jobs")];
  return table("Processes", headings, rows.map((row) => el("tr", { class: !row.up && "failed" },
    el("th", { scope: "row" }, service(row.service)),
    el("td", null, el("span", { class: `badge ${row.up ? "good" : "bad"}` }, row.up ? "up" : "no answer")),
    cell(number(row.in_flight)),
    cell(share(row.busy), row.busy > 0.8),
    cell(number(row.pool_used), row.pool_used > 0 && row.pool_idle === 0),
    cell(number(row.pool_idle)),
    cell(number(row.outbox_backlog)),
    cell(row.outbox_oldest_seconds === null ? "–" : duration(row.outbox_oldest_seconds * 1000), row.outbox_oldest_seconds > 5),
    cell(number(row.system_errors), row.system_errors > 0),
    cell(number(row.jobs_failed), row.jobs_failed > 0))));
}

function calls(rows, withService) {
  if (!rows.length) return el("p", { class: "nothing" }, "No call yet.");
  const sorted = [...rows].sort((left, right) => right.per_second - left.per_second || right.calls - left.calls);
  const headings = [withService ? "Method" : "Route", withService && "Service", count("Calls"), count("per second"), count("Failed"),
    count("p50"), count("p99")].filter(Boolean);
  return table(withService ? "Methods" : "Routes", headings, sorted.map((row) => {
    const old = row.is_recent ? "" : "quiet";
    return el("tr", null,
      el("th", { scope: "row" }, el("code", null, row.name.replace(" _OTHER", " (no such route)"))),
      withService && el("td", null, service(row.service)),
      cell(number(row.calls)),
      cell(number(row.per_second, 2)),
      cell(share(row.error_share), row.error_share > 0, old),
      cell(duration(row.p50_ms), false, old),
      cell(duration(row.p99_ms), false, old));
  }));
}

function consumers(rows) {
  if (!rows.length) return el("p", { class: "nothing" }, "No consumer yet.");
  const headings = ["Consumer", "Service", "State", count("Lag"), count("Waiting"), count("Dead letters")];
  return table("Consumers", headings, rows.map((row) => el("tr", null,
    el("th", { scope: "row" }, el("code", null, row.consumer)),
    el("td", null, service(row.service)),
    el("td", null, el("span", { class: `badge ${row.up ? "good" : "bad"}` }, row.up ? "consumes" : "stands still")),
    cell(number(row.lag), row.lag > 100),
    cell(number(row.waiting), row.waiting > 0),
    cell(number(row.dead_letters), row.dead_letters > 0))));
}

/** A number; marked where somebody should look. */
function cell(text, isWorth, kind) {
  return el("td", { class: `number ${kind ?? ""} ${isWorth ? "worth" : ""}` }, text);
}
