// One question's row: its state, what was said about the newest frame, and how sure that was.

import { draw } from "./chart.js";
import { mark, percent, write } from "./format.js";
import { States } from "./states.js";

const WHOLE = "whole";

export class Answer {
  // asked: { name } and, where the server tells more of it, { task, view, answers, least, … }.
  constructor(element, asked) {
    const find = (what) => element.querySelector(what);
    this.element = element;
    this.label = find(".label");
    this.percent = find(".percent");
    this.bar = find(".bar");
    this.chart = find(".chart");
    this.about = find(".about");
    this.states = new States(element);
    this.marks = "";
    const name = find(".task");
    name.textContent = asked.name;
    name.title = asked.name;
    this.name = asked.name;
    mark(this.bar, "aria-label", `Probability, ${asked.name}`);
    mark(this.chart, "aria-label", `Probability over the last minute, ${asked.name}`);
  }

  // said: the newest answer, or nothing; known: the states; samples: of the last minute.
  show(asked, said, known, samples, now) {
    this.#say(said, asked);
    write(this.about, about(asked));
    mark(this.about, "title", about(asked));
    this.#mark(asked);
    this.states.show(known, now);
    draw(this.chart, samples, this.name, now);
  }

  #say(said, asked) {
    const probability = said ? said.probability : 0;
    mark(this.element, "data-said", said ? "yes" : "no");
    mark(this.element, "data-unknown", said?.unknown ? "yes" : "no");
    write(this.label, said ? words(said) : "no answer");
    if (said?.unknown) this.#guess(said);
    mark(this.label, "title", said ? shares(said) : "Nothing was likely enough.");
    write(this.percent, said && said.present?.length !== 0 ? percent(probability) : "–");
    mark(this.bar, "aria-valuenow", String(Math.round(100 * probability)));
    mark(this.bar, "aria-valuetext", [percent(probability), ...thresholds(asked).map(({ text }) => text)].join(", "));
    this.bar.firstElementChild.style.setProperty("--part", String(probability));
  }

  // What would be said if it were sure enough.
  #guess(said) {
    const guess = document.createElement("small");
    guess.textContent = `${said.label}?`;
    this.label.append(" ", guess);
  }

  #mark(asked) {
    const marks = JSON.stringify(thresholds(asked));
    if (marks === this.marks) return;
    this.marks = marks;
    while (this.bar.children.length > 1) this.bar.lastElementChild.remove();
    for (const { at, text, kind } of thresholds(asked)) {
      const tick = document.createElement("s");
      tick.title = text;
      tick.dataset.kind = kind;
      tick.style.setProperty("--at", String(at));
      this.bar.append(tick);
    }
  }
}

// The probabilities that answers are held against. Of several labels, certainty is no label's
// probability, and has no place on the bar.
export function thresholds({ answers, least, upper, lower }) {
  const found = [];
  if (least > 0 && answers === "one") found.push({ at: least, kind: "least", text: `unsure below ${percent(least)}` });
  if (upper > 0) found.push({ at: upper, kind: "upper", text: `becomes the state from ${percent(upper)} on` });
  if (lower > 0 && lower !== upper) found.push({ at: lower, kind: "lower", text: `stays the state from ${percent(lower)} on` });
  return found;
}

// What is answered: the label, or all that are present where several may be right.
export function words({ label, present, unknown }) {
  if (unknown) return `unknown (${unknown})`;
  if (!present) return label;
  return present.map((each) => each.label).join(", ") || "none";
}

// The same with each label's own probability, to be read when pointed at.
function shares({ label, present, probability, unknown }) {
  if (unknown) return `The likeliest label is ${label}, ${percent(probability)}.`;
  if (!present) return label;
  return present.map((each) => `${each.label} ${percent(each.probability)}`).join(", ") || "none";
}

function about({ name, task, view, seconds, motion }) {
  return [
    task && task !== name ? task : "",
    view && view !== WHOLE ? view : "",
    seconds ? `every ${seconds} s` : "",
    motion ? "on motion" : "",
  ].filter(Boolean).join(", ");
}
