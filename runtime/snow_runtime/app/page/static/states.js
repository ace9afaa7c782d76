// The state of a question, how long it has been so, and the changes that led there.

import { SPAN_S } from "./chart.js";
import { duration, mark, write } from "./format.js";

const KEPT = 24; // changes of each state
const WIDTH = 600;
const HEIGHT = 10;
const SHADES = 4;
const BECAUSE = {
  answers: "answers agree",
  silence: "no answers",
  gone: "not known any more",
};

export class States {
  constructor(row) {
    const find = (what) => row.querySelector(what);
    this.row = row;
    this.now = find(".now");
    this.strip = find(".strip");
    this.details = find(".changes");
    this.changes = []; // the oldest first
    this.shades = new Map(); // by label
    this.told = "";
  }

  // Takes changes that are new here; all: in the place of those known.
  take(changes, all) {
    if (!changes.length && !all) return;
    if (all) this.changes = [];
    this.changes.push(...changes);
    const counts = new Map();
    this.changes = this.changes.reverse().filter(({ label }) => {
      counts.set(label, (counts.get(label) ?? 0) + 1);
      return counts.get(label) <= KEPT;
    }).reverse();
  }

  // known: { state, since } or { labels: { label: { state, since } } }, or nothing.
  show(known, now) {
    mark(this.row, "data-states", known ? "yes" : "no");
    this.now.hidden = !known;
    this.#chips(known, now);
    this.#strip(known, now);
    this.#list(known);
  }

  #chips(known, now) {
    const one = known && !known.labels;
    const states = known?.labels ? Object.entries(known.labels) : one ? [["", known]] : [];
    while (this.now.children.length > states.length) this.now.lastElementChild.remove();
    while (this.now.children.length < states.length) {
      const item = document.createElement("li");
      item.append(chip("", false), document.createElement("small"));
      this.now.append(item);
    }
    states.forEach(([label, { state, since }], place) => {
      const [shown, age] = this.now.children[place].children;
      mark(shown, "data-kind", kind(state, !one));
      write(shown, one ? state : `${label}: ${state}`);
      const lasts = since === null ? "" : duration(now - since);
      write(age, lasts && one ? `for ${lasts}` : "");
      mark(shown, "title", lasts ? `${shown.textContent}, for ${lasts}` : shown.textContent);
    });
  }

  // What the state was over the last minute; of labels with states of their own nothing.
  #strip(known, now) {
    const parts = known && !known.labels ? this.#parts(known, now) : [];
    while (this.strip.children.length > parts.length) this.strip.lastElementChild.remove();
    while (this.strip.children.length < parts.length) {
      this.strip.append(document.createElementNS(this.strip.namespaceURI, "rect"));
    }
    parts.forEach(({ state, from, to }, place) => {
      const rect = this.strip.children[place];
      const x = Math.round(10 * WIDTH * from) / 10;
      mark(rect, "x", String(x));
      mark(rect, "width", String(Math.max(0, Math.round(10 * WIDTH * to) / 10 - x)));
      mark(rect, "height", String(HEIGHT));
      mark(rect, "data-kind", kind(state, false));
      mark(rect, "class", `shade-${this.#shade(state)}`);
    });
  }

  #parts({ state, since }, now) {
    const at = (time) => Math.min(1, Math.max(0, 1 - (now - time) / SPAN_S));
    const steps = this.changes.filter(({ time }) => time > now - SPAN_S);
    const first = steps.length ? steps[0].before : state;
    const begin = steps.length || since === null ? 0 : at(since);
    const parts = [{ state: first, from: begin }];
    for (const { after, time } of steps) parts.push({ state: after, from: at(time) });
    return parts.map((part, place) => ({ ...part, to: parts[place + 1]?.from ?? 1 }));
  }

  #shade(state) {
    if (kind(state, false) !== "label") return 0; // it has a colour of its own
    if (!this.shades.has(state)) this.shades.set(state, this.shades.size % SHADES);
    return this.shades.get(state);
  }

  #list(known) {
    const last = this.changes.at(-1);
    this.details.hidden = !known || !last;
    const told = last ? `${last.number} ${last.time} ${this.changes.length}` : "";
    if (this.details.hidden || told === this.told) return;
    this.told = told;
    const [summary, list] = this.details.children;
    summary.replaceChildren(...line(last));
    list.replaceChildren(...this.changes.slice(0, -1).reverse().map((change) => {
      const item = document.createElement("li");
      item.append(...line(change));
      return item;
    }));
    if (!list.children.length) {
      const item = document.createElement("li");
      item.textContent = "That is the only change yet.";
      list.append(item);
    }
  }
}

// A change in words, to be spoken.
export function spoken({ camera, question, label, before, after }) {
  const what = label === undefined ? question : `${question}, ${label}`;
  return `${camera}, ${what}: ${after}, before ${before}`;
}

function line({ label, before, after, because, time, evidence }) {
  const several = label !== undefined;
  const when = document.createElement("time");
  const date = new Date(1000 * time);
  when.dateTime = date.toISOString();
  when.textContent = clock(date);
  const why = document.createElement("small");
  why.textContent = BECAUSE[because] ?? because;
  if (evidence) why.title = `The evidence is frame ${evidence.frame}.`;
  const parts = [when, several ? `${label}:` : "", chip(before, several), "→", chip(after, several), why];
  return parts.filter(Boolean).flatMap((part) => [part, " "]);
}

function clock(date) {
  const time = date.toLocaleTimeString("en-GB");
  const today = date.toDateString() === new Date().toDateString();
  return today ? time : `${date.toLocaleDateString("en-CA")} ${time}`;
}

function chip(state, several) {
  const made = document.createElement("span");
  made.className = "chip";
  made.textContent = state;
  made.dataset.kind = kind(state, several);
  return made;
}

function kind(state, several) {
  if (state === "unknown" || state === "stale") return state;
  return several && (state === "on" || state === "off") ? state : "label";
}
