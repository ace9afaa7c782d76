// Whether what a camera shows has left what each question was trained on: figures of the last hours.

import { duration, mark, percent, write } from "./format.js";

export const drifted = (stats) => (stats.drift ?? []).filter((each) => each.drifted);

export class Drifts {
  constructor(element) {
    this.element = element;
    this.rows = new Map();
    this.known = new Map();
  }

  // figures: of this camera's questions. Returns what has changed, in words, or nothing.
  show(figures, now) {
    for (const [name, row] of this.rows) {
      if (!figures.some(({ question }) => question === name)) {
        row.remove();
        this.rows.delete(name);
        this.known.delete(name);
      }
    }
    this.element.hidden = !figures.length;
    return figures.map((each) => this.#tell(each, now)).filter(Boolean).join("; ");
  }

  #tell({ question, drifted: is, strange, blocks, share, since }, now) {
    if (!this.rows.has(question)) this.rows.set(question, this.#make(question));
    const row = this.rows.get(question);
    const [meter, words] = row.querySelectorAll("meter, small");
    const long = is && since ? ` for ${duration(now - since)}` : "";
    const state = is ? `drifted${long}` : blocks ? "as trained" : "watched since now";
    mark(row, "data-drifted", is ? "yes" : "no");
    meter.value = share;
    mark(meter, "title", `${percent(share)} of the frames are unlike those trained on`);
    write(words, `${state}, ${strange} of ${blocks} blocks strange`);
    const before = this.known.get(question);
    this.known.set(question, is);
    if (before === undefined || before === is) return "";
    return is ? `${question} has drifted` : `${question} has drifted no more`;
  }

  #make(question) {
    const [row, name, meter, words] = ["li", "span", "meter", "small"].map((kind) => document.createElement(kind));
    write(name, `Drift of ${question}`);
    Object.assign(meter, { min: 0, max: 1, low: 0.5, high: 0.5, optimum: 0 });
    mark(meter, "aria-label", `Share of strange frames, ${question}`);
    row.append(name, meter, words);
    this.element.append(row);
    return row;
  }
}
