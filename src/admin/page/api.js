// Asking the admin address: reading is free on this machine, changing needs the token.

import { byId } from "/page/dom.js";

const ANSWER_WITHIN_MS = 5000;
const KEY = "clickgate-token";

/** A no from the other side, as opposed to silence. */
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** Takes the token out of the address bar, where it would be seen and kept. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  showToken();
}

/** Whether changes can be tried. */
export const mayChange = () => sessionStorage.getItem(KEY) !== null;

function showToken() {
  document.body.classList.toggle("read-only", !mayChange());
  byId("read-only").hidden = mayChange();
  for (const button of document.querySelectorAll("[data-changes]")) button.disabled = !mayChange();
}

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

async function ask(method, target, body) {
  const request = { method, headers: headers(), signal: AbortSignal.timeout(ANSWER_WITHIN_MS) };
  if (method !== "GET") {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body ?? {});
  }
  let answer;
  let json;
  try {
    answer = await fetch(target, request);
    json = await answer.json();
  } catch (error) {
    if (answer === undefined || error.name === "TimeoutError") connected(false);
    throw error;
  }
  connected(true);
  if (answer.ok) return json;
  if (answer.status === 401 && mayChange()) {
    // The token of an earlier process: better none than one that is refused each time.
    sessionStorage.removeItem(KEY);
    showToken();
  }
  const details = (json.details ?? []).map((detail) => `\n${JSON.stringify(detail)}`).join("");
  throw new Refused(answer.status, `${json.error ?? `status ${answer.status}`}${details}`);
}

export const get = (target) => ask("GET", target);
export const change = (method, target, body) => ask(method, target, body);

function connected(yes) {
  byId("disconnected").hidden = yes;
  document.body.classList.toggle("stale", !yes);
}

/** Calls `poll` every so many ms while somebody can see the page; returns how to call it now. */
export function every(ms, poll) {
  let timer;
  let again = false;
  let busy = false;
  const run = async () => {
    clearTimeout(timer);
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    if (!document.hidden) await poll().catch((error) => console.warn(String(error)));
    busy = false;
    timer = setTimeout(run, again ? 0 : ms);
    again = false;
  };
  document.addEventListener("visibilitychange", () => document.hidden || run());
  run();
  return run;
}
