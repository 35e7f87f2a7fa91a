// The figures beside the chart: how it stands, where every number is, lanes, refusals.

import { bytes, byId, count, el, fill, nothing, problem, span, text, words } from "/page/dom.js";

const LANES_SHOWN = 8;

/** From /stats. */
export function status(stats) {
  text("version", stats.version);
  const { totals, health, catalog } = stats;
  tile("accepted", count(totals.accepted), `since the start, ${span(stats.now_ms - stats.started_at_ms)} ago`);
  const lost = totals.shed + totals.not_durable;
  tile("refused", count(totals.refused), lost === 0 ? "nothing shed" : `and ${count(lost)} shed or not durable`, lost > 0 && "warn");
  const state = stateOf(stats);
  const pill = byId("state");
  pill.textContent = state.name;
  pill.className = `pill ${state.mood}`;
  if (!health) {
    tile("catalog", "none", "no tracker runs in this process");
  } else {
    const held = `${count(catalog.entries)} ${catalog.entries === 1 ? "program" : "programs"} held`;
    if (!catalog.loaded) tile("catalog", "not loaded", "waiting for the registry", "bad");
    else if (!catalog.fresh) tile("catalog", "stale", `${held}, changes not followed`, "warn");
    else tile("catalog", "fresh", held, "good");
  }
  refusals(stats.refused, totals.refused);
}

function stateOf({ health }) {
  if (!health) return { name: "no tracker", mood: "" };
  if (health.draining) return { name: "draining", mood: "warn" };
  if (health.lane_poisoned) return { name: "a lane failed", mood: "bad" };
  return health.ready ? { name: "ready", mood: "good" } : { name: "not ready", mood: "bad" };
}

function tile(name, value, more, mood) {
  text(`${name}-value`, value);
  text(`${name}-more`, more);
  byId(`${name}-tile`).className = `tile ${mood || ""}`;
}

function refusals(reasons, all) {
  const rows = Object.entries(reasons).filter(([, number]) => number > 0).sort(([, a], [, b]) => b - a);
  if (rows.length === 0) {
    fill("refusals", nothing("Nothing was refused since the start."));
    return;
  }
  fill("refusals", rows.map(([reason, number]) =>
    el("li", {}, el("span", {}, words(reason)), el("b", {}, count(number)),
      el("meter", { min: 0, max: Math.max(all, number), value: number, "aria-hidden": true }))));
}

/** From /log. */
export function log(status) {
  const behind = Math.max(0, ...status.cursors.map((cursor) => cursor.lag));
  const { consumer, shipper } = status;
  shipped(shipper);
  readFromStream(consumer ?? status.bridge);
  let more = status.cursors.length === 0 ? "no cursor" : "every cursor is at the end";
  if (behind > 0) more = consumer ? `records, ${span(consumer.lag_ms)} behind` : "records";
  if (consumer?.stream) more = `the stream's slowest shard is ${span(Math.max(0, ...Object.values(consumer.stream.shards).map((shard) => shard.behind_ms)))} behind`;
  tile("lag", count(behind), more, consumer?.error || shipper?.error ? "bad" : behind > 100_000 && "warn");
  problem("lanes-problem", consumer?.error && `The consumer ${consumer.stalled ? "is stalled" : "tries again"}: ${consumer.error.reason}`);
  text("log-fill", `${bytes(status.bytes)} of ${bytes(status.bytes_max)}, ${status.fill_percent} %`);
  byId("log-meter").value = status.fill_percent;
  const ours = [...status.lanes].sort((a, b) => (b.boot === status.boot) - (a.boot === status.boot)
    || b.boot.localeCompare(a.boot) || a.lane - b.lane);
  fill("lanes", ours.slice(0, LANES_SHOWN).map((lane) => el("tr", {},
    el("th", { scope: "row", title: `boot ${lane.boot}` }, `lane ${lane.lane}`,
      lane.boot === status.boot ? null : el("small", {}, " earlier start")),
    el("td", { class: lane.poisoned ? "bad" : "" }, lane.poisoned ? "failed" : lane.state),
    el("td", {}, count(lane.issued)),
    el("td", {}, count(Math.max(0, lane.issued - lane.synced))),
    el("td", {}, bytes(lane.bytes)))));
  text("lanes-more", ours.length > LANES_SHOWN ? `and ${count(ours.length - LANES_SHOWN)} more lanes of earlier starts` : "");
  fill("cursors", status.cursors.map((cursor) => el("tr", {},
    el("th", { scope: "row" }, cursor.name),
    el("td", {}, count(cursor.lag)),
    el("td", {}, cursor.lag === 0 ? "0 s" : span(behindMs(cursor, consumer, shipper))))));
}

/** How old the first record is that a cursor has not passed, as far as its reader says it. */
function behindMs(cursor, consumer, shipper) {
  if (cursor.name === "table") return consumer?.lag_ms ?? 0;
  const oldest = cursor.name === "shipper" ? shipper?.oldest_received_at_ms ?? 0 : 0;
  return oldest > 0 ? Math.max(0, Date.now() - oldest) : 0;
}

/** The shipper's part of /log; nothing where none runs. */
function shipped(shipper) {
  byId("shipper").hidden = !shipper;
  if (!shipper) return;
  text("shipper-stream", shipper.stream);
  const { error, stalled, retries } = shipper;
  problem("shipper-problem", error && `${stalled ? "Stalled until somebody acts" : "Tries again"}: ${error.reason}`);
  const again = Object.entries(retries).filter(([, number]) => number > 0).sort(([, a], [, b]) => b - a);
  const oldest = shipper.oldest_received_at_ms;
  fill("shipper-figures",
    rowOf("records acknowledged", shipper.acknowledged),
    rowOf("in Kinesis records", shipper.kinesis_records),
    rowOf("payload units of 25 KiB", shipper.payload_units),
    textRowOf("not acknowledged yet", oldest > 0
      ? `${bytes(shipper.bytes_in_flight)}, the oldest ${span(Math.max(0, Date.now() - oldest))}` : bytes(shipper.bytes_in_flight)),
    shipper.bytes_held_back > 0 ? textRowOf("of it waiting for a shard", bytes(shipper.bytes_held_back), "warn") : null,
    shipper.dead_letters > 0 ? rowOf("dead letters", shipper.dead_letters, "warn") : null,
    ...again.map(([cause, number]) => rowOf(`sent again: ${words(cause)}`, number)));
}

/** The stream's part of the consumer or of the program bridge; nothing where neither reads one. */
function readFromStream(reader) {
  const stream = reader?.stream;
  byId("worker").hidden = !stream;
  if (!stream) return;
  text("worker-name", `worker ${stream.worker.slice(0, 8)}`);
  const shards = Object.entries(stream.shards);
  const failing = shards.find(([, shard]) => shard.error);
  const error = stream.leases_error ?? failing?.[1].error;
  problem("worker-problem", error && `Tries again: ${error.reason}`);
  fill("worker-shards", shards.length === 0
    ? el("tr", {}, el("td", { colspan: 3 }, "None: other workers hold the leases of all shards."))
    : shards.map(([name, shard]) => el("tr", {},
      el("th", { scope: "row" }, name),
      el("td", {}, span(shard.behind_ms)),
      el("td", { class: shard.error ? "bad" : "" }, shard.read === shard.stored ? "nothing" : "some"))));
  fill("worker-figures",
    rowOf("Kinesis records read", stream.kinesis_records),
    rowOf("leases taken", stream.leases_taken),
    rowOf("leases lost to other workers", stream.leases_lost),
    rowOf("shards read to their end", stream.shards_ended),
    stream.shards_expired > 0 ? rowOf("shards that were gone before", stream.shards_expired, "bad") : null,
    stream.throttled > 0 ? rowOf("reading throttled", stream.throttled, "warn") : null);
}

/** From /log: the queues of ActiveMQ, if any is configured. */
export function bridges({ activemq = [] }) {
  byId("bridges-card").hidden = activemq.length === 0;
  const failing = activemq.find((bridge) => bridge.error);
  problem("bridges-problem", failing && `${failing.queue}: ${failing.error.reason}`);
  fill("bridges", activemq.map((bridge) => {
    const { received, acknowledged, quarantined, dead } = bridge.counts;
    const state = bridge.stopped ? "stopped" : bridge.endpoint ? "subscribed" : "not connected";
    return el("tr", {},
      el("th", { scope: "row", title: `${bridge.destination} at ${bridge.endpoint ?? bridge.broker}` },
        bridge.queue, el("div", { class: bridge.endpoint ? "muted small" : "bad small" }, state)),
      el("td", { class: "roomy" }, count(received)), el("td", {}, count(acknowledged)),
      el("td", { class: quarantined + dead > 0 ? "warn" : "" }, count(quarantined + dead)),
      el("td", {}, count(bridge.in_flight)));
  }));
}

const PLACES = [
  ["stored", "stored, each once"], ["duplicates", "came again, kept once"], ["rejected", "refused hits, kept 7 days"],
  ["reports", "reports of the lanes"], ["in_log", "in the log, not stored yet"], ["dead_letters", "dead letters"],
  ["dropped", "dropped by an operator"], ["abandoned", "abandoned, never acknowledged"],
];

/** From /reconcile; `null` without a consumer. */
export function ledger(reconciliation, ships) {
  if (reconciliation === null) {
    tile("missing", "–", "only a consumer keeps the ledger");
    fill("ledger", nothing(ships
      ? "Events go to the stream; whoever stores them there keeps the ledger."
      : "No consumer runs in this process; its ledger knows."));
    return;
  }
  const { totals } = reconciliation;
  const mood = totals.missing === 0 ? "good" : "bad";
  tile("missing", `${count(totals.missing)} missing`, `of ${count(totals.issued)} numbers given out`, mood);
  const rows = PLACES.filter(([place]) => totals[place] > 0 || place === "stored" || place === "in_log");
  fill("ledger", el("table", {},
    el("tbody", {}, ...rows.map(([place, meaning]) => rowOf(meaning, totals[place]))),
    el("tfoot", {}, rowOf("given out", totals.issued), rowOf("missing", totals.missing, mood))));
}

const rowOf = (meaning, number, mood = "") => textRowOf(meaning, count(number), mood);

const textRowOf = (meaning, value, mood = "") =>
  el("tr", { class: mood }, el("th", { scope: "row" }, meaning), el("td", {}, value));
