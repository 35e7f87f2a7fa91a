// A hit to try: the edge decides over it step by step and records nothing.

import { change, Refused } from "/page/api.js";
import { byId, el, fill } from "/page/dom.js";

/** What was asked for, as a line for a terminal. */
function curlLine(hits, request) {
  const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;
  const headers = request.headers.map(([name, value]) => ` -H ${quoted(`${name}: ${value}`)}`).join("");
  return `curl -i${headers} ${quoted(/^https?:/.test(request.url) ? request.url : `http://${hits}${request.url}`)}`;
}

function formRequest() {
  const headers = [];
  if (byId("try-agent").value) headers.push(["User-Agent", byId("try-agent").value]);
  if (byId("try-gpc").checked) headers.push(["Sec-GPC", "1"]);
  return { method: "GET", url: byId("try-url").value.trim(), headers };
}

async function explain(hits) {
  const request = formRequest();
  const line = hits ? curlLine(hits, request) : "no tracker runs in this process";
  byId("try-curl").textContent = line;
  byId("try-result").hidden = false;
  try {
    const said = await change("POST", "/explain", request);
    const accepted = said.decision === "accepted";
    const notCounted = accepted && !said.recorded ? ", but not counted" : "";
    fill("try-verdict", el("span", { class: `pill ${accepted ? "good" : "warn"}` }, said.decision),
      ` ${accepted ? `as ${said.route}${notCounted}` : `${said.reason}: ${said.detail}`}`);
    fill("try-steps", said.steps.map((step) => el("li", { class: step.passed ? "passed" : "failed" },
      el("b", {}, step.check.replaceAll("_", " ")), " ", el("span", {}, step.detail))));
  } catch (error) {
    const isNo = error instanceof Refused;
    fill("try-verdict", el("span", { class: "pill bad" }, isNo ? "no hit" : "no answer"), ` ${error.message}`);
    fill("try-steps");
  }
}

/** Wires the form; `hits` says where the tracker listens now. */
export function start(hits) {
  byId("try-form").addEventListener("submit", (event) => {
    event.preventDefault();
    explain(hits());
  });
  byId("try-copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId("try-curl").textContent);
    byId("try-copy").textContent = "Copied";
    setTimeout(() => (byId("try-copy").textContent = "Copy"), 1500);
  });
}
