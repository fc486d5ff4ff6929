// Numbers and times as people read them.

/** `0.42 ms`, `12.3 ms`, `1.23 s`. */
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  if (milliseconds === 0) return "0 ms";
  if (milliseconds >= 60_000) return `${(milliseconds / 60_000).toFixed(1)} min`;
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(2)} s`;
  return `${milliseconds.toFixed(milliseconds >= 100 ? 0 : milliseconds >= 10 ? 1 : 2)} ms`;
}

/** Local time of the day with milliseconds. */
export function clock(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return String(time);
  return `${date.toLocaleTimeString([], { hour12: false })}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** A number with at most so many decimals. */
export function number(value, decimals = 0) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en", { maximumFractionDigits: decimals });
}

/** `12.5 %`. */
export function share(value) {
  return value === null || value === undefined ? "–" : `${number(value * 100, 1)} %`;
}

/** `1 span`, `3 spans`. */
export function count(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A value of an attribute or a field. */
export function plain(value) {
  if (typeof value === "number" && !Number.isInteger(value)) return number(value, 3);
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** How a status is to be coloured: HTTP and gRPC. */
export function grade(status, failed) {
  if (failed || /^5/.test(status)) return "bad";
  if (/^4/.test(status)) return "warn";
  if (!status || /^[123]/.test(status) || status === "OK") return "good";
  return "warn";
}
