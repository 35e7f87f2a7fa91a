// Building the page out of nodes. Text that came from a hit is only ever given to
// textContent or to an attribute that is not read as code.

/** The element with this id, which page.html has. */
export const byId = (id) => document.getElementById(id);

/** A new element: `el("span", { class: "id", title: "…" }, "text", node, …)`. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map(nodeOf));
  return node;
}

const nodeOf = (child) => (child instanceof Node ? child : document.createTextNode(String(child)));

/** Puts the children in the place of what is there. */
export function fill(id, ...children) {
  byId(id).replaceChildren(...children.flat().filter((child) => child !== null).map(nodeOf));
}

/** Sets a text if it is another one, so that selections survive. */
export function text(id, value) {
  const node = byId(id);
  if (node.textContent !== String(value)) node.textContent = value;
}

/** Shows a reason in the panel's own place for it; hides it without one. */
export function problem(id, reason) {
  const node = byId(id);
  node.hidden = !reason;
  text(id, reason ?? "");
}

/** A sentence in the place of a list that has nothing. */
export const nothing = (sentence, ...more) => el("p", { class: "nothing" }, sentence, ...more);

const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const rates = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** 1234567 as 1,234,567. */
export const count = (value) => numbers.format(value);

/** A rate, with a decimal while it is small. */
export const rate = (value) => (value < 100 ? rates : numbers).format(value);

/** Bytes in the unit that people would take. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${rates.format(value)} ${units[at]}`;
}

/** The time of day where the reader is; with milliseconds if asked for. */
export function clock(ms, withMs = false) {
  const at = new Date(ms);
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return withMs ? `${time}.${String(at.getMilliseconds()).padStart(3, "0")}` : time;
}

/** A span of time in words. */
export function span(ms) {
  const seconds = Math.floor(ms / 1000);
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

/** `not_durable` as `not durable`. */
export const words = (name) => name.replaceAll("_", " ");
