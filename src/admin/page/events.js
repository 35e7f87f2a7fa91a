// The newest events, live.

import { get, Refused } from "/page/api.js";
import { byId, clock, el, fill, nothing, problem } from "/page/dom.js";

const SHOWN_MAX = 50;

let next = null;
let shown = false;

/** Forgets where it was: another process answers now. */
export function restart() {
  next = null;
}

/** Shows the events of another program from now on. */
export function begin() {
  byId("events-program").addEventListener("change", () => {
    next = null;
    shown = false;
    problem("events-problem", null);
    fill("events", nothing("…"));
  });
}

/** Asks for what came since; if more came than is shown, for the newest. */
export async function poll(stats) {
  if (stats === null) return;
  if (!stats.consumes) {
    fill("events", nothing(stats.ships
      ? "Events of this process go to the stream, and are stored where that is read."
      : "No consumer runs in this process: events wait in the log."));
    return;
  }
  try {
    const after = next === null ? "" : `&after=${encodeURIComponent(next)}`;
    const asked = next;
    const program = byId("events-program").value.trim();
    const only = program === "" ? "" : `&program=${encodeURIComponent(program)}`;
    const listing = await get(`/events/tail?limit=${SHOWN_MAX}${after}${only}`);
    if (asked !== next || program !== byId("events-program").value.trim()) return;
    const isFull = listing.items.length === SHOWN_MAX;
    show(listing.items, asked === null);
    next = isFull && asked !== null ? null : listing.next;
    problem("events-problem", null);
  } catch (error) {
    // A table in DynamoDB lists the events of one program.
    if (error instanceof Refused && byId("events-program").value.trim() === "") {
      fill("events", nothing("Name a program above: this table lists the events of one program at a time."));
      return;
    }
    problem("events-problem", `The events cannot be read: ${error.message}`);
    throw error;
  }
}

function show(items, isAll) {
  const list = byId("events");
  if (items.length === 0) {
    if (!shown) fill("events", nothing("No event is stored yet. The first one appears here within a second."));
    return;
  }
  const rows = items.map(row).reverse();
  if (isAll || !shown) {
    const open = new Set([...list.querySelectorAll("details[open]")].map((kept) => kept.dataset.id));
    rows.forEach((one) => (one.open = open.has(one.dataset.id)));
    list.replaceChildren(...rows);
  } else {
    list.prepend(...rows);
  }
  shown = true;
  while (list.childElementCount > SHOWN_MAX) list.lastElementChild.remove();
}

function row(event) {
  const type = event.type ?? "event";
  const parameters = (event.parameters ?? []).map(([name, value]) => `${name}=${value}`).join("  ");
  const details = el("details", { class: "event", "data-id": event.messageId },
    el("summary", {},
      el("time", { datetime: event.receivedAt, title: event.receivedAt }, clock(event.receivedAtMs, true)),
      el("span", { class: `type type-${/^[a-z]+$/.test(type) ? type : "custom"}` }, event.customName ?? type),
      el("span", { class: "who" },
        el("b", {}, event.programName || event.programId), " ", el("span", { class: "id" }, event.programId)),
      el("span", { class: "what" }, parameters || event.userAgent || "")));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) {
      details.append(el("pre", { tabindex: 0 }, JSON.stringify(event, null, 2)));
    }
  });
  return details;
}
