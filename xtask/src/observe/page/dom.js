// Builds elements. Text is only ever added as text: what spans and log lines say comes from outside,
// and must not become markup.

/** An element with attributes, listeners (`onclick`) and children; `null` and `false` are left out. */
export function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(isShown));
  return element;
}

/** Gives an element other children, without losing the keyboard's place among them. */
export function fill(element, ...children) {
  const focused = element.contains(document.activeElement) && document.activeElement.dataset.key;
  element.replaceChildren(...children.flat(Infinity).filter(isShown));
  if (!focused) return;
  element.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** A link within the page. */
export function link(parameters, attributes, ...children) {
  return el("a", { href: address(parameters), ...attributes }, ...children);
}

/** The address of a view; parameters without a value are left out. */
export function address(parameters) {
  const stated = Object.entries(parameters).filter(([, value]) => value);
  const query = new URLSearchParams(stated).toString();
  return query ? `/?${query}` : "/";
}

/** A table with a caption for those who cannot see it, and a heading for each column. */
export function table(caption, headings, rows, attributes) {
  const heading = (it) => el("th", { scope: "col", class: it.number && "number" }, it.text ?? it);
  return el("div", { class: "scroll" }, el("table", attributes,
    el("caption", null, caption),
    el("thead", null, el("tr", null, headings.map(heading))),
    el("tbody", null, rows)));
}

/** The name of a service with its colour. */
export function service(name) {
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  dot.style.setProperty("--hue", hue(name));
  return el("span", { class: "service" }, dot, name);
}

const HUES = {
  gateway: 255, "auth-svc": 35, "identity-svc": 320, "authz-svc": 150, "audit-svc": 85, "billing-svc": 200,
};

/** The hue of a service: chosen for the platform's own, of their letters for others. */
export function hue(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return HUES[name] ?? sum;
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}
