// One camera's card: its picture, what was said about it, its state and counts.

import { Answer, thresholds, words } from "./answer.js";
import { SPAN_S } from "./chart.js";
import { Drifts } from "./drift.js";
import { count, duration, mark, milliseconds, write } from "./format.js";
import { Picture } from "./picture.js";
import { Views } from "./views.js";

const WAITING = 200; // changes of states that are kept for rows to come
const OLD_S = 2; // a picture that is older is said to be

const STATES = {
  connecting: ["busy", "Connecting"],
  connected: ["ok", "Connected"],
  reconnecting: ["busy", "Reconnecting"],
  frozen: ["bad", "Frozen"],
  ended: ["off", "Ended"],
  failed: ["bad", "Failed"],
  closed: ["off", "Closed"],
};

const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

export class Camera {
  // draw: is called when a view is to be drawn.
  constructor(name, draw) {
    this.name = name;
    this.samples = [];
    this.changes = []; // of questions that have no row yet
    this.rows = new Map();
    this.element = copy("camera");
    const find = (what) => this.element.querySelector(what);
    this.state = find(".state");
    this.blank = find(".blank");
    this.over = find(".over");
    this.answers = find(".answers");
    this.counts = new Map(
      [...this.element.querySelectorAll("[data-count]")].map((e) => [e.dataset.count, e]),
    );
    const title = find("h2");
    title.textContent = name;
    title.title = name;
    mark(find("canvas"), "aria-label", `Picture of ${name}`);
    mark(this.answers, "aria-label", `Answers about ${name}`);
    this.drifts = new Drifts(find(".drifts"));
    mark(find(".drifts"), "aria-label", `Drift of ${name}`);
    this.picture = new Picture(find("canvas"), name);
    this.views = new Views(find(".picture"), find(".view-list"));
    this.hints = new Map(
      [...this.element.querySelectorAll("[data-hint]")].map((e) => [e.dataset.hint, e]),
    );
    mark(find(".view-list"), "aria-label", `Views of ${name}`);
    mark(find(".draw"), "aria-label", `Draw a view of ${name}`);
    find(".draw").addEventListener("click", () => draw(name));
  }

  // What was said before this page was opened.
  remember(samples) {
    this.samples = samples;
  }

  // Takes changes of states that are new here; all: in the place of those known.
  change(changes, all) {
    if (all) {
      this.changes = [];
      for (const row of this.rows.values()) row.states.take([], true);
    }
    this.changes.push(...changes);
  }

  // asked: what is asked of this camera; views: its views; drift: its figures of drift. Returns
  // what of the state changed, in words to be spoken, or nothing.
  update(now, camera, asked, { views, drift }, leave) {
    const { answer } = camera;
    this.#sample(now, answer);
    this.#answer(now, camera, asked);
    this.#count(camera);
    this.views.show(this.picture.shown ? views : [], camera.shares);
    const age = answer ? now - answer.time : 0;
    const still = this.seen === answer?.frame && age > OLD_S && this.picture.shown;
    if (answer && !still) this.picture.refresh(leave);
    this.seen = answer?.frame;
    this.blank.hidden = this.picture.shown;
    const told = this.drifts.show(drift, now);
    return [this.#tell(camera, age), told && `${this.name}: ${told}`].filter(Boolean).join("; ");
  }

  // The server is gone: nobody knows how the camera is doing.
  lose() {
    this.told = undefined;
    mark(this.state, "data-tone", "off");
    write(this.state, "Not known");
  }

  #sample(now, answer) {
    const { samples } = this;
    const last = samples.at(-1);
    if (answer && (!last || answer.time - last[0] > 0.001)) {
      const said = Object.entries(answer.tasks);
      samples.push([
        answer.time,
        Object.fromEntries(said.map(([task, each]) => [task, [words(each), each.probability]])),
      ]);
    }
    while (samples.length && samples[0][0] < now - SPAN_S) samples.shift();
  }

  #answer(now, { answer, states }, asked) {
    const names = asked.map(({ name }) => name);
    for (const [name, row] of this.rows) {
      if (!names.includes(name)) {
        row.element.remove();
        this.rows.delete(name);
      }
    }
    asked.forEach((question, place) => {
      const { name } = question;
      if (!this.rows.has(name)) this.rows.set(name, new Answer(copy("answer"), question));
      const row = this.rows.get(name);
      if (this.answers.children[place] !== row.element) {
        this.answers.insertBefore(row.element, this.answers.children[place] ?? null);
      }
      row.states.take(this.changes.filter((change) => change.question === name), false);
      const said = answer && Object.hasOwn(answer.tasks, name) ? answer.tasks[name] : null;
      const known = states && Object.hasOwn(states, name) ? states[name] : null;
      row.show(question, said, known, this.samples, now);
    });
    this.changes = this.changes.filter(({ question }) => !names.includes(question)).slice(-WAITING);
    this.hints.get("states").hidden = !Object.values(states ?? {}).some(({ state }) => state);
    this.hints.get("marks").hidden = !asked.some((question) => thresholds(question).length);
  }

  #count(camera) {
    const { answer } = camera;
    const unit = (value) => (value === undefined ? "–" : `${milliseconds(value)} ms`);
    const texts = {
      frames_per_s: camera.frames_per_s.toFixed(1),
      latency: unit(answer?.latency_ms),
      age: unit(answer?.age_ms),
      drops: count(camera.drops),
      reconnections: count(camera.reconnections),
      bad_frames: count(camera.bad_frames),
    };
    for (const [name, text] of Object.entries(texts)) write(this.counts.get(name), text);
  }

  #tell(camera, age) {
    const [tone, words] = STATES[camera.state] ?? ["off", camera.state ?? "No state"];
    const old = age > OLD_S;
    mark(this.state, "data-tone", tone);
    mark(this.element, "data-old", old ? "yes" : "no");
    const since = tone === "busy" && camera.since_s >= 1 ? ` for ${duration(camera.since_s)}` : "";
    write(this.state, words + since);
    const lines = [
      old && this.picture.shown ? `This picture is ${duration(age)} old.` : "",
      camera.state !== "connected" && camera.error ? camera.error : "",
    ];
    const text = lines.filter(Boolean).join(" ");
    this.over.hidden = !text;
    write(this.over, text);
    const changed = this.told !== undefined && this.told !== words;
    this.told = words;
    return changed ? `${this.name}: ${words}` : "";
  }
}
