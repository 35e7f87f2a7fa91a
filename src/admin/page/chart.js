// The last five minutes, a column for each second, stacked by outcome.

import { byId, clock, count, el, fill, problem, rate, text, words } from "/page/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
/** The least a column is high, so that one refused hit among thousands is seen. */
const SEEN = 1.2;
const RATE_OVER_S = 10;

let stats = null;
let pointed = null;

/** A round number that is not below `value`, and whose half is a whole one. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 4)));
  return [1, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value && step >= 4);
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const atOf = (second) => stats.now_ms - (stats.second - second) * 1000;

/** Draws what /stats said. */
export function draw(newStats) {
  stats = newStats;
  const width = stats.seconds_max;
  const samples = stats.samples.filter(([second]) => stats.second - second < width);
  const top = ceiling(Math.max(0, ...samples.map(([, ...counts]) => sum(counts))));
  const paths = stats.outcomes.map(() => "");
  for (const [second, ...counts] of samples) {
    const x = width - 1 - (stats.second - second);
    let y = HEIGHT;
    counts.forEach((number, at) => {
      if (number === 0) return;
      const height = Math.min(Math.max((number / top) * HEIGHT, SEEN), y);
      paths[at] += `M${x} ${y.toFixed(2)}h1v${(-height).toFixed(2)}h-1z`;
      y -= height;
    });
  }
  stats.outcomes.forEach((outcome, at) => {
    let path = byId(`chart-${outcome}`);
    if (path === null) {
      path = document.createElementNS(SVG, "path");
      path.setAttribute("id", `chart-${outcome}`);
      path.setAttribute("class", `fill-${outcome}`);
      byId("chart-columns").append(path);
    }
    path.setAttribute("d", paths[at]);
  });
  text("chart-top", `${count(top)} a second`);
  text("chart-middle", count(top / 2));
  const all = sum(samples.map(([, ...counts]) => sum(counts)));
  byId("chart-empty").hidden = all > 0;
  describe(samples, all);
  legend(samples);
}

/** The same in words. */
function describe(samples, all) {
  if (all === 0) {
    text("chart-text", "No hit in the last five minutes.");
    return;
  }
  const of = stats.outcomes.map((outcome, at) => [outcome, sum(samples.map((sample) => sample[at + 1]))]);
  const said = of.filter(([, number]) => number > 0).map(([outcome, number]) => `${count(number)} ${words(outcome)}`);
  const [second, ...counts] = samples.reduce((most, sample) => (sum(sample.slice(1)) > sum(most.slice(1)) ? sample : most));
  text("chart-text", `In the last five minutes: ${said.join(", ")}. Most in one second: ${count(sum(counts))}, at ${clock(atOf(second))}.`);
}

/** Names the colours, with the figures of the second that is pointed at, else the rate now. */
function legend(samples) {
  let figures;
  if (pointed === null) {
    const recent = samples.filter(([second]) => stats.second - second <= RATE_OVER_S && second < stats.second);
    const over = Math.max(1, Math.min(RATE_OVER_S, stats.second));
    figures = stats.outcomes.map((_, at) => rate(sum(recent.map((sample) => sample[at + 1])) / over));
    text("chart-when", `a second, over the last ${RATE_OVER_S} s`);
  } else {
    const second = stats.second - (stats.seconds_max - 1 - pointed);
    const sample = samples.find(([known]) => known === second) ?? [];
    figures = stats.outcomes.map((_, at) => count(sample[at + 1] ?? 0));
    text("chart-when", `at ${clock(atOf(second))}`);
  }
  fill("chart-legend", stats.outcomes.map((outcome, at) =>
    el("li", {}, el("i", { class: `key back-${outcome}` }), words(outcome), " ", el("b", {}, figures[at]))));
}

/** Follows the pointer over the columns. */
export function follow() {
  const area = byId("chart-area");
  const cursor = byId("chart-cursor");
  const point = (at) => {
    pointed = at;
    cursor.toggleAttribute("hidden", at === null);
    if (at !== null) {
      cursor.setAttribute("x1", at + 0.5);
      cursor.setAttribute("x2", at + 0.5);
    }
    if (stats !== null) draw(stats);
  };
  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    const seconds = stats?.seconds_max ?? 300;
    const at = Math.floor(((event.clientX - box.left) / box.width) * seconds);
    point(Math.min(Math.max(at, 0), seconds - 1));
  });
  area.addEventListener("pointerleave", () => point(null));
}

/** Says that there are no figures, and why. */
export const failed = (reason) => problem("chart-problem", reason);
