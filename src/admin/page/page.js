// The page: reads what there is, each at its own pace, and shows it.

import { every, get, takeToken } from "/page/api.js";
import * as chart from "/page/chart.js";
import * as events from "/page/events.js";
import * as panels from "/page/panels.js";
import * as programs from "/page/programs.js";
import * as trying from "/page/try.js";
import { problem } from "/page/dom.js";

let stats = null;

async function pollStats() {
  try {
    const read = await get("/stats");
    if (stats !== null && read.started_at_ms !== stats.started_at_ms) events.restart();
    stats = read;
    chart.failed(null);
  } catch (error) {
    chart.failed(`The figures cannot be read: ${error.message}`);
    throw error;
  }
  chart.draw(stats);
  panels.status(stats);
}

/** Reads `target` and shows it, or says in the panel why not. */
async function panel(place, target, show) {
  try {
    const read = await get(target);
    problem(place, null);
    show(read);
  } catch (error) {
    problem(place, `Cannot be read: ${error.message}`);
    throw error;
  }
}

async function pollLedger() {
  if (stats === null) return;
  if (stats.consumes) await panel("ledger-problem", "/reconcile", panels.ledger);
  else panels.ledger(null, stats.ships);
}

takeToken();
addEventListener("hashchange", takeToken);
chart.follow();
programs.start();
trying.start(() => stats?.hits);
await pollStats().catch(() => {});
every(1000, pollStats);
events.begin();
every(400, () => events.poll(stats));
every(1000, () => panel("lanes-problem", "/log", (log) => {
  panels.log(log);
  panels.bridges(log);
}));
every(2000, pollLedger);
every(5000, programs.poll);
