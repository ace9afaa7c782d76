// One picture of the grid, or a group of the same ones, and what is known of it.

import { colour, labelText, percent, write } from "./words.js";
import { pictureUrl } from "./api.js";

const SURE = 0.8;
const BESIDE = 3; // pictures of a group beside its first

export class Tile {
  constructor(ids) {
    this.ids = ids; // more than one in a group
    this.data = undefined; // of the first one, once the server told; null: it was deleted
    this.revision = -1; // that the data is of
    this.least = 0; // older news is from before something that was pressed here
    this.others = new Map(); // labels of single ones of a group that the server told of
    this.element = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.element.id = `picture-${this.id}`;
    this.element.classList.toggle("stack", ids.length > 1);
    [this.image, this.count, this.who, this.mark] = this.element.children;
    this.count.hidden = ids.length === 1;
    write(this.count, `×\u200a${ids.length}`);
  }

  get id() {
    return this.ids[0];
  }

  // undefined: nobody has said anything; null: passed over.
  get label() {
    return this.data?.label;
  }

  // What somebody saw of one picture: a group shows what its first one has.
  labelOf(id) {
    return this.others.has(id) ? this.others.get(id) : this.label;
  }

  get open() {
    return this.label === undefined && !this.element.classList.contains("gone");
  }

  load(width) {
    if (this.image.getAttribute("src")) return;
    this.image.src = pictureUrl(this.id, width);
    const others = this.ids.slice(1).slice(-BESIDE).map((id) => {
      const image = new Image();
      image.src = pictureUrl(id, width / 4);
      image.alt = "";
      return image;
    });
    this.image.after(...others);
  }

  show(data, revision, labels, me) {
    this.data = data;
    this.revision = revision;
    this.element.classList.toggle("gone", data === null);
    if (data === null) return;
    const { label, by, suggestion } = data;
    const state = label === undefined ? "open" : label === null ? "skipped" : "labelled";
    this.element.dataset.state = state;
    const [words, sure] = this.mark.children;
    this.mark.hidden = state === "open" && !suggestion;
    write(words, state === "open" ? labelText(suggestion?.label ?? "") : labelText(label));
    write(sure, state === "open" && suggestion ? percent(suggestion.sure) : "");
    this.mark.dataset.sure = suggestion?.sure >= SURE ? "yes" : "no";
    if (state === "labelled") this.mark.style.setProperty("--label", colour(labels, label));
    this.who.hidden = !by || by === me || state === "open";
    write(this.who, by ?? "");
    this.#describe(state, suggestion);
  }

  // What was just pressed, before the server has told.
  expect(label, labels, me) {
    this.least = Infinity;
    this.show({ ...(this.data ?? { id: this.id }), label, by: me }, this.revision, labels, me);
  }

  // The server has told: this revision has what was pressed.
  heard(revision) {
    this.least = revision;
  }

  #describe(state, suggestion) {
    const { camera = "", view = "" } = this.data;
    const same = this.ids.length > 1 ? `, ${this.ids.length} of the same` : "";
    let what = "no label yet";
    if (state !== "open") what = labelText(this.label);
    else if (suggestion) what = `perhaps ${labelText(suggestion.label)}, ${percent(suggestion.sure)}`;
    const text = `${view ? `${camera} / ${view}` : camera}${same}: ${what}`;
    this.element.setAttribute("aria-label", text);
    this.element.title = suggestion && state === "open" ? why(suggestion) : text;
  }
}

function why({ model, neighbours }) {
  const said = [];
  if (model) said.push(`the model says ${labelText(model.label)}, ${percent(model.sure)}`);
  if (neighbours) {
    const sure = percent(neighbours.sure);
    said.push(`the nearest labelled pictures say ${labelText(neighbours.label)}, ${sure}`);
  }
  return said.join("; ");
}
