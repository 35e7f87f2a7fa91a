// Programs: look at, pause, edit.

import { change, get, mayChange } from "/page/api.js";
import { byId, count, el, fill, nothing, problem } from "/page/dom.js";

const SHOWN_MAX = 50;
/** Above this many, the list is read only when asked: 100,000 programs are megabytes. */
const FOLLOWED_MAX = 500;

let programs = [];
let known = false;

/** Reads the programs again, unless there are too many to do that unasked. */
export async function poll() {
  if (!known || programs.length <= FOLLOWED_MAX) await reload();
}

async function reload() {
  try {
    const read = await get("/programs");
    const changed = !known || JSON.stringify(read) !== JSON.stringify(programs);
    programs = read;
    known = true;
    if (changed) show();
  } catch (error) {
    problem("programs-problem", `The programs cannot be read: ${error.message}`);
    throw error;
  }
}

function show() {
  const wanted = byId("programs-filter").value.trim().toLowerCase();
  const fits = (program) => [program.programId, program.programName, program.customerName]
    .some((name) => String(name).toLowerCase().includes(wanted));
  const found = programs.filter(fits);
  const rows = found.slice(0, SHOWN_MAX).map(row);
  if (programs.length === 0) fill("programs", nothing("There is no program yet: every hit is refused. Add one, or ", el("code", {}, "clickgate programs import FILE"), "."));
  else if (found.length === 0) fill("programs", nothing("No program has that in its name or id."));
  else fill("programs", rows);
  byId("programs-filter").hidden = programs.length < 8 && wanted === "";
  byId("programs-count").textContent =
    found.length > SHOWN_MAX ? `${SHOWN_MAX} of ${count(found.length)}` : count(found.length);
}

function stateOf(program) {
  const now = Date.now();
  if (!program.valid) return ["paused", "warn"];
  if (program.startsAt && Date.parse(program.startsAt) > now) return ["not started", ""];
  if (program.endsAt && Date.parse(program.endsAt) <= now) return ["ended", ""];
  return ["active", "good"];
}

function row(program) {
  const [state, mood] = stateOf(program);
  const word = program.valid ? "Pause" : "Resume";
  const pause = button(word, () => toggle(program.programId));
  pause.setAttribute("aria-label", `${word} ${program.programId}`);
  const edit = button("Edit", () => openEditor(program));
  edit.setAttribute("aria-label", `Edit ${program.programId}`);
  return el("li", { "data-program": program.programId },
    el("div", { class: "who" }, el("b", {}, program.programName || program.programId), " ",
      el("span", { class: "id" }, program.programId), el("small", {}, program.customerName)),
    el("span", { class: `pill ${mood}` }, state),
    el("div", { class: "buttons" }, pause, edit));
}

function button(label, action) {
  const node = el("button", { type: "button", "data-changes": true, disabled: !mayChange() }, label);
  node.addEventListener("click", action);
  return node;
}

/** As it can be put: without the old revision, the moment becomes the new one. */
function withoutRevision({ revision, ...program }) {
  return program;
}

const path = (id) => `/programs/${encodeURIComponent(id)}`;

async function toggle(id) {
  try {
    const program = withoutRevision(await get(path(id)));
    await change("PUT", path(id), { ...program, valid: !program.valid });
    problem("programs-problem", null);
    await reload();
  } catch (error) {
    problem("programs-problem", `${id} was not changed: ${error.message}`);
  }
}

const TEMPLATE = {
  programId: "spring", programName: "Spring sale", checksum: "9", customerId: 9123, customerName: "Customer1",
  valid: true, landingUrl: "https://shop.example/sale?click={click_id}",
};

function openEditor(program) {
  byId("editor-title").textContent = program ? `Edit ${program.programId}` : "New program";
  byId("editor-json").value = JSON.stringify(program ? withoutRevision(program) : TEMPLATE, null, 2);
  problem("editor-problem", null);
  byId("editor").showModal();
}

async function save() {
  let program;
  try {
    program = JSON.parse(byId("editor-json").value);
  } catch (error) {
    problem("editor-problem", `Not saved: ${error.message}`);
    return;
  }
  try {
    await change("PUT", path(program?.programId ?? ""), program);
    byId("editor").close();
    await reload();
  } catch (error) {
    problem("editor-problem", `Not saved: ${error.message}`);
  }
}

/** Wires the buttons. */
export function start() {
  byId("programs-filter").addEventListener("input", show);
  byId("programs-new").addEventListener("click", () => openEditor(null));
  byId("editor-cancel").addEventListener("click", () => byId("editor").close());
  byId("editor-form").addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
}
