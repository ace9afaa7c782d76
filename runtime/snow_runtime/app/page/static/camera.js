// One camera's card: its picture, what was said about it, its state and counts.

import { SPAN_S, draw } from "./chart.js";
import { count, duration, mark, milliseconds, percent, write } from "./format.js";
import { Picture } from "./picture.js";

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
  constructor(name) {
    this.name = name;
    this.samples = [];
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
    this.picture = new Picture(find("canvas"), name);
  }

  // What was said before this page was opened.
  remember(samples) {
    this.samples = samples;
  }

  // Returns what of the state changed, in words to be spoken, or nothing.
  update(now, camera, tasks, leave) {
    const { answer } = camera;
    this.#sample(now, answer);
    this.#answer(now, answer, tasks);
    this.#count(camera);
    const age = answer ? now - answer.time : 0;
    const still = this.seen === answer?.frame && age > OLD_S && this.picture.shown;
    if (answer && !still) this.picture.refresh(leave);
    this.seen = answer?.frame;
    this.blank.hidden = this.picture.shown;
    return this.#tell(camera, age);
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

  #answer(now, answer, tasks) {
    for (const [task, row] of this.rows) {
      if (!tasks.includes(task)) {
        row.remove();
        this.rows.delete(task);
      }
    }
    tasks.forEach((task, place) => {
      if (!this.rows.has(task)) this.rows.set(task, makeRow(task));
      const row = this.rows.get(task);
      if (this.answers.children[place] !== row) {
        this.answers.insertBefore(row, this.answers.children[place] ?? null);
      }
      fillRow(row, answer && Object.hasOwn(answer.tasks, task) ? answer.tasks[task] : null);
      draw(row.lastElementChild, this.samples, task, now);
    });
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

function makeRow(task) {
  const row = copy("answer");
  const [name, , , bar, chart] = row.children;
  name.textContent = task;
  name.title = task;
  mark(bar, "aria-label", `Probability, ${task}`);
  mark(chart, "aria-label", `Probability over the last minute, ${task}`);
  return row;
}

function fillRow(row, said) {
  const [, label, part, bar] = row.children;
  const probability = said ? said.probability : 0;
  mark(row, "data-said", said ? "yes" : "no");
  const text = said ? words(said) : "no answer";
  write(label, text);
  mark(label, "title", said ? shares(said) : "Nothing was likely enough.");
  write(part, said && said.present?.length !== 0 ? percent(probability) : "–");
  mark(bar, "aria-valuenow", String(Math.round(100 * probability)));
  bar.firstElementChild.style.setProperty("--part", String(probability));
}

// What is answered: the label, or all that are present where several may be right.
function words({ label, present, unknown }) {
  if (unknown) return `unknown (${unknown})`;
  if (!present) return label;
  return present.map((each) => each.label).join(", ") || "none";
}

// The same with each label's own probability, to be read when pointed at.
function shares({ label, present }) {
  if (!present) return label;
  return present.map((each) => `${each.label} ${percent(each.probability)}`).join(", ") || "none";
}
