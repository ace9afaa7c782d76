// The labelling page: what is pressed, what the server is told, and what others do meanwhile.

import { Refused, get, post } from "./api.js";
import { Large, askClass, askName, askQuestion, person, showKeys } from "./dialogs.js";
import { Grid } from "./grid.js";
import { listen } from "./keys.js";
import { ModelTab } from "./model.js";
import { Toolbar } from "./toolbar.js";
import { labelText, notice, plural, same } from "./words.js";

const POLL_MS = 2000;
const LOOK_MS = 300;

const find = (id) => document.getElementById(id);
const toolbar = new Toolbar({
  label: give,
  ordered: order,
  asked: choose,
  named: rename,
  made: make,
  added: async () => question && (await askClass(question)) && look(),
});
const large = new Large();
const model = new ModelTab(find("model"), review);
const grid = new Grid(find("grid"), find("end"), {
  told: () => toolbar.told(grid),
  chosen: () => {
    toolbar.chosen(grid);
    if (large.open && grid.current) large.show(grid.current);
  },
  enlarge,
  fail: (error) => error instanceof Refused && notice(error.message, "bad"), // else `look` says so
});

let state = { questions: [], views: [], people: [], model: false };
let question = null;
let acts = []; // how many entries of the journal each thing pressed has made, the newest last
let queue = Promise.resolve(); // what is pressed is told in turn
let turns = 0; // orders asked for
let looking = 0;
let lost = false;

// ------------------------------------------------------------------------------- what is pressed

const tellable = () => question !== null && document.body.dataset.tab === "label";

async function name() {
  const given = person() || (await askName());
  toolbar.showName(person());
  return given;
}

async function rename() {
  await askName();
  grid.me = person();
  toolbar.showName(person());
}

// Give choices, each a label with its tiles, as one thing that can be undone. What is pressed is
// shown at once; the server is told in turn, and what it says counts.
function tell(choices) {
  const filled = choices.filter(({ tiles }) => tiles.length);
  if (!tellable() || !filled.length) return;
  if (!person()) {
    name().then((given) => given && tell(filled));
    return;
  }
  const [asked, by] = [question, person()];
  const tiles = filled.flatMap((each) => each.tiles);
  const seen = {};
  for (const tile of tiles) {
    for (const id of tile.ids) if (tile.labelOf(id)) seen[id] = tile.labelOf(id);
  }
  const given = filled.map(({ label, tiles: some }) => ({ label, ids: some.flatMap(({ ids }) => ids) }));
  grid.me = by;
  for (const { label, tiles: some } of filled) {
    for (const tile of some) tile.expect(label, asked.labels, by);
  }
  if (!asked.several || filled[0].label === null || filled[0].goOn) grid.goOn(tiles);
  else toolbar.chosen(grid);
  tellLater(() => send({ question: asked.name, by, choices: given, seen }, tiles));
}

function tellLater(telling) {
  queue = queue.then(telling).catch((error) => notice(error.message, "bad"));
}

async function send(body, tiles) {
  try {
    const done = await post("labels", body);
    for (const tile of tiles) {
      tile.heard(done.revision);
      tile.others.clear();
      for (const { id, label } of done.conflicts) if (tile.ids.includes(id)) tile.others.set(id, label);
    }
    if (done.entries) acts.push(done.entries);
    report(done);
    changed(done.revision);
  } catch (error) {
    for (const tile of tiles) {
      tile.heard(0);
      tile.revision = -1; // show again what is so
    }
    grid.renew(0);
    throw error;
  }
}

function report({ labelled, conflicts }) {
  if (!conflicts.length) {
    notice("");
    return;
  }
  const [{ by, label }] = conflicts;
  const some = plural(conflicts.length, "picture was", "pictures were");
  const all = conflicts.every((each) => each.by === by && same(each.label, label));
  const what = all ? `${labelText(label)} by ${by || "somebody else"}` : "otherwise by others";
  const rest = labelled ? ` The other ${labelled} have their label.` : "";
  notice(`${some} labelled ${what} meanwhile, and left so.${rest} Press again to overrule.`, "bad", 12000);
  grid.seek(conflicts.map(({ id }) => id));
}

function give(label) {
  const tiles = grid.selection;
  if (!question?.several || label === null || Array.isArray(label)) {
    tell([{ label, tiles, goOn: true }]);
    return;
  }
  const had = tiles.length && tiles.every((tile) => tile.label?.includes(label));
  const sets = new Map();
  for (const tile of tiles) {
    const now = new Set(tile.label ?? []);
    if (had) now.delete(label);
    else now.add(label);
    const chosen = question.labels.filter((each) => now.has(each));
    const key = JSON.stringify(chosen);
    if (!sets.has(key)) sets.set(key, { label: chosen, tiles: [] });
    sets.get(key).tiles.push(tile);
  }
  tell([...sets.values()]);
}

function accept() {
  const choices = new Map();
  for (const tile of grid.selection) {
    const label = tile.data?.suggestion?.label;
    if (label === undefined || !tile.open) continue;
    const key = JSON.stringify(label);
    if (!choices.has(key)) choices.set(key, { label, tiles: [], goOn: true });
    choices.get(key).tiles.push(tile);
  }
  if (choices.size) tell([...choices.values()]);
  else notice("Nothing is suggested for what is chosen. Label a few first.");
}

function undo() {
  if (!tellable()) return;
  const here = grid.current;
  tellLater(() => takeBack(here));
}

// `here` is where somebody was who asked for it; who has gone on since then stays there.
async function takeBack(here) {
  const by = await name();
  if (!by) return;
  const entries = acts.pop() ?? 1;
  let done;
  try {
    done = await post("undo", { question: question.name, by, entries });
  } catch (error) {
    if (error instanceof Refused) acts.push(entries); // else nobody knows whether it was done
    throw error;
  }
  const ids = done.undone.flatMap((each) => each.ids);
  if (!ids.length) {
    notice(`${by} has nothing left to take back.`);
    return;
  }
  grid.takenBack(ids);
  changed(done.revision);
  if (!grid.seek(ids, grid.current !== here)) order();
  const labels = [...new Set(done.undone.map(({ label }) => labelText(label)))].join(", ");
  notice(`Taken back: ${plural(ids.length, "picture")} (${labels}).`);
}

function enlarge() {
  const tile = grid.current;
  if (!tile) return;
  if (large.open) large.close();
  else if (tile.ids.length > 1) grid.split(tile);
  else large.show(tile);
}

function escape() {
  if (large.open) large.close();
  else if (grid.current) grid.go(grid.here);
}

// ---------------------------------------------------------------------------- what is looked at

// Show pictures that the Model tab names.
function review(groups, words) {
  turns += 1; // an order that is under way is of no use
  grid.element.ariaBusy = "false";
  toolbar.showTab("label");
  grid.fill(question, groups, person());
  toolbar.reviewed(groups.flat().length, words);
  grid.element.focus({ preventScroll: true });
}

async function order() {
  if (!question) {
    turns += 1;
    grid.fill(null, [], person());
    toolbar.ended(null);
    return;
  }
  const [asked, turn] = [question, ++turns];
  grid.element.ariaBusy = "true";
  try {
    const found = await get("order", { question: asked.name, ...toolbar.wanted });
    if (turn !== turns) return; // another order was asked for meanwhile
    grid.revision = Math.max(grid.revision, found.revision);
    grid.fill(asked, found.groups, person());
    toolbar.ended(found);
  } catch (error) {
    notice(error.message, "bad");
  }
  if (turn === turns) grid.element.ariaBusy = "false";
}

function choose(wanted) {
  const found = state.questions.find((each) => each.name === wanted) ?? state.questions[0] ?? null;
  if (found?.name === question?.name) {
    const renamed = found && !same(found.labels, question.labels);
    question = found;
    if (grid.question && found) grid.question = found;
    if (renamed) toolbar.buttons(found);
    return;
  }
  question = found;
  acts = [];
  grid.revision = 0;
  toolbar.showQuestion(question);
  model.show(question);
  order();
}

async function make() {
  const made = await askQuestion(state.views);
  if (!made) return;
  await look();
  choose(made);
}

function changed(revision) {
  grid.renew(revision);
  clearTimeout(looking);
  looking = setTimeout(look, LOOK_MS);
}

// ------------------------------------------------------------------------------ what others do

async function look() {
  try {
    const by = person();
    state = await get("state", { by });
    if (lost) notice("");
    lost = false;
  } catch (error) {
    if (!lost) notice(`The server does not answer: ${error.message}`, "bad", 1e9);
    lost = true;
    return;
  }
  choose(question?.name ?? toolbar.kept);
  toolbar.showState(state, question, person());
  model.offer(state.model);
  if (question && question.revision !== grid.revision) grid.renew(question.revision);
}

async function follow() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

listen(
  {
    move: (key, ranging) => tellable() && grid.move(key, ranging),
    digit: (place) => question?.labels[place] !== undefined && give(question.labels[place]),
    skip: () => give(null),
    accept,
    undo,
    again: () => tellable() && order(),
    enlarge,
    escape,
    help: showKeys,
  },
  () => [...document.querySelectorAll("dialog[open]")].some(({ id }) => id !== "large"),
);
for (const [id, act] of Object.entries({ accept, undo, skip: () => give(null), again: order, keys: showKeys })) {
  find(id).addEventListener("click", act);
}
toolbar.showName(person());
follow();
