// The page: follows the server, shows what it says, and says when it is gone.

import { Camera } from "./camera.js";
import { DrawDialog } from "./draw_dialog.js";
import { mark, write } from "./format.js";
import { Switches, showFigures } from "./overview.js";
import { spoken } from "./states.js";
import { Refused, follow } from "./stream.js";

const RETRY_MS = [500, 1000, 2000, 3000];
const NOTICE_MS = 5000;

const find = (id) => document.getElementById(id);
const cameras = new Map();
const switches = new Switches(find("tasks"), (text) => {
  if (document.body.dataset.link === "live") notice(text); // or a notice says why already
});
const dialog = new DrawDialog(find("drawing").content.firstElementChild);
let setup = { questions: [], tasks: [], views: {}, chosen: false };
let version = null;
let told = null; // when the server last said something
let passing = 0;

// A notice that goes by itself, or stays until the connection is back.
function notice(text, stays = false) {
  clearTimeout(passing);
  write(find("notice"), text);
  find("notice").hidden = !text;
  speak(text);
  if (text && !stays) passing = setTimeout(() => { find("notice").hidden = true; }, NOTICE_MS);
}

function speak(text) {
  if (text) write(find("spoken"), text);
}

function showLink(link, tone, words) {
  document.body.dataset.link = link;
  mark(find("link"), "data-tone", tone);
  write(find("link"), words);
  document.title = link === "lost" ? "Disconnected – snow-deploy" : "snow-deploy";
}

function receive(name, value, leave) {
  if (name === "history") {
    for (const [camera, samples] of Object.entries(value)) card(camera).remember(samples);
    return;
  }
  version ??= value.version;
  if (version !== value.version) location.reload(); // another server, perhaps with another page
  if (document.body.dataset.link !== "live") {
    if (told) notice("");
    speak(told ? "The connection is back." : "");
    showLink("live", "ok", "Live");
  }
  told = new Date();
  if (value.setup) setup = value.setup;
  if (value.changes) takeChanges(value.changes);
  write(find("tasks-title"), setup.chosen ? "Questions" : "Tasks");
  showFigures(value.stats);
  switches.show(value.tasks);
  showCameras(value, leave);
  dialog.follow(setup, value, leave);
}

function takeChanges({ all, events: changes }) {
  for (const [name, shown] of cameras) {
    if (all) shown.change([], true);
    shown.change(changes.filter(({ camera }) => camera === name), false);
  }
  const unseen = changes.filter(({ camera }) => !cameras.has(camera));
  for (const change of unseen) card(change.camera).change([change], false);
  if (!all) speak(changes.map(spoken).join("; "));
}

// What is asked of a camera: where the server does not say, each task that is on.
function askedOf(camera, tasks) {
  const on = tasks.filter((task) => task.on).map(({ name }) => name);
  const known = setup.questions.filter((question) => question.camera === camera && on.includes(question.name));
  return setup.questions.length ? known : on.map((name) => ({ name }));
}

function showCameras(state, leave) {
  const names = state.cameras.map(({ name }) => name);
  for (const [name, shown] of cameras) {
    if (!names.includes(name)) {
      shown.element.remove();
      cameras.delete(name);
    }
  }
  find("empty").hidden = names.length > 0;
  state.cameras.forEach((camera, place) => {
    const { element } = card(camera.name);
    const here = find("cameras").children[place + 1]; // the first child says that there is none
    if (here !== element) find("cameras").insertBefore(element, here ?? null);
    const asked = askedOf(camera.name, state.tasks);
    const views = Object.hasOwn(setup.views, camera.name) ? setup.views[camera.name] : [];
    const drift = (state.stats.drift ?? []).filter((each) => each.camera === camera.name);
    speak(card(camera.name).update(state.time, camera, asked, { views, drift }, leave));
  });
}

function card(name) {
  if (!cameras.has(name)) cameras.set(name, new Camera(name, (camera) => dialog.open(camera)));
  return cameras.get(name);
}

function lost(error) {
  if (error instanceof Refused && error.status === 401) {
    return "The server was started anew and wants its new token. Open the address that it printed.";
  }
  if (error instanceof Refused && error.status === 503) {
    return "The server serves no more viewers. This page goes on when another one is closed.";
  }
  const since = told ? ` What you see is of ${told.toLocaleTimeString("en-GB")}.` : "";
  return `The connection to the server is lost.${since} Trying to connect again …`;
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => {
    document.addEventListener("visibilitychange", done, { once: true });
  });
}

async function run() {
  for (let failures = 0; ; ) {
    await visible(); // a page that nobody looks at takes nothing
    const leave = new AbortController();
    const hide = () => document.hidden && leave.abort();
    document.addEventListener("visibilitychange", hide);
    let error = null;
    try {
      await follow("events", (name, value) => {
        failures = 0;
        receive(name, value, leave.signal);
      }, leave.signal);
    } catch (caught) {
      error = caught;
    }
    document.removeEventListener("visibilitychange", hide);
    const left = leave.signal.aborted;
    leave.abort(); // the pictures under way, too
    if (left) continue;
    if (document.body.dataset.link !== "lost" || error instanceof Refused) notice(lost(error), true);
    showLink("lost", "bad", "Disconnected");
    for (const shown of cameras.values()) shown.lose();
    await new Promise((done) => setTimeout(done, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]));
  }
}

run();
