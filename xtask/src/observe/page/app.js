// Which view the address asks for, and how often it looks for news.

import { fill } from "/dom.js";
import * as traces from "/traces.js";
import * as trace from "/trace.js";
import * as metrics from "/metrics.js";
import * as logs from "/logs.js";

const INTERVAL_MS = 1000;

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const pause = document.getElementById("pause");
let view = null;
let paused = false;
let timer = 0;

/** Nobody answers. */
class Away extends Error {}

/** Opens the view of the address. */
function open() {
  const parameters = new URLSearchParams(location.search);
  const name = parameters.has("trace") || parameters.has("request") ? "trace"
    : parameters.get("view") ?? "traces";
  const chosen = { traces, trace, metrics, logs }[name] ?? traces;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    const isCurrent = link.dataset.view === (name === "trace" ? "traces" : name);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(main);
  view = chosen.open(main, parameters, { get, go, change, refresh });
  refresh();
}

/** Goes to another view. */
function go(address) {
  history.pushState(null, "", address);
  open();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** States another address for what is shown already. */
function change(address) {
  history.replaceState(null, "", address);
}

/** An answer: `null` when there is no news, `missing` when what is asked for is not there. */
async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } }).catch(() => { throw new Away(); });
  if (response.status === 204) return null;
  const body = await response.json();
  if (response.ok) return body;
  return { missing: body.error ?? "not found" };
}

async function refresh() {
  clearTimeout(timer);
  const asked = view;
  try {
    await asked.refresh();
    tell("");
  } catch (error) {
    if (!(error instanceof Away)) console.error(error);
    tell(error instanceof Away ? "No answer: the platform has stopped." : `This page failed: ${error.message}`);
  }
  if (asked === view && !paused) timer = setTimeout(tick, INTERVAL_MS);
}

function tick() {
  if (document.hidden) timer = setTimeout(tick, INTERVAL_MS);
  else refresh();
}

function tell(text) {
  if (connection.textContent !== text) connection.textContent = text;
}

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Resume" : "Pause";
  if (paused) clearTimeout(timer);
  else refresh();
});

// Links within the page change the view without loading it anew.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  if (!link || !isPlain) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});

// As on many pages, `/` leads to the search.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  document.querySelector("input[type=search]")?.focus();
});

addEventListener("popstate", open);
open();
