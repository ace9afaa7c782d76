// The dialog in which a view is drawn, and its configuration copied. It changes nothing else.

import { Board } from "./board.js";
import { configText, faultOf, nameOf } from "./config_text.js";
import { mark, write } from "./format.js";
import { Picture } from "./picture.js";

const DONE_MS = 4000;
const HOW = {
  box: "Drag a rectangle over the picture; drag its corners to change it. With keys: arrows move it, Shift with arrows "
    + "changes its size.",
  polygon: "Tap the points of the polygon one after another; drag them to change it. With keys: arrows move the last "
    + "point, Enter adds one, Backspace takes it away. The model sees the box around it.",
};
const NONE = ["", "none – the view alone"];

export class DrawDialog {
  constructor(element) {
    this.element = element; // in the page only while it is open
    this.setup = { questions: [], tasks: [], views: {}, chosen: false };
    this.cameras = [];
    this.tasks = [];
    this.done = 0;
    this.fields = new Map(
      [...element.querySelectorAll("[data-field]")].map((field) => [field.dataset.field, field]),
    );
    const frame = element.querySelector(".board");
    this.canvas = frame.querySelector("canvas");
    this.blank = frame.querySelector(".blank");
    this.board = new Board(frame, () => this.#write());
    for (const name of ["view", "question"]) this.#field(name).addEventListener("input", () => this.#write());
    for (const name of ["rotate", "task"]) this.#field(name).addEventListener("change", () => this.#write());
    this.#field("camera").addEventListener("change", () => this.#choose(this.#field("camera").value));
    for (const radio of element.querySelectorAll("[name=shape]")) {
      radio.addEventListener("change", () => this.#shape(radio.value));
    }
    const act = (what, does) => element.querySelector(`[data-do=${what}]`).addEventListener("click", does);
    act("close", () => element.close());
    element.addEventListener("close", () => element.remove());
    act("clear", () => this.board.clear());
    act("copy", () => this.#copy());
    this.#shape("box");
  }

  open(camera) {
    document.body.append(this.element);
    this.element.showModal();
    options(this.#field("camera"), this.cameras.map((name) => [name, name]));
    options(this.#field("task"), [NONE, ...this.tasks.map((name) => [name, name])]);
    for (const name of ["view", "question", "task"]) this.#field(name).value = "";
    this.#field("rotate").value = "0";
    this.#field("camera").value = camera;
    this.#choose(camera);
  }

  // What the server says now; while the dialog is open its picture goes on.
  follow(setup, state, leave) {
    this.setup = setup;
    this.cameras = state.cameras.map(({ name }) => name);
    this.tasks = setup.tasks.length ? setup.tasks : state.tasks.map(({ name }) => name);
    if (!this.element.open || !this.picture) return;
    const { width, height } = this.canvas;
    this.picture.refresh(leave);
    this.blank.hidden = this.picture.shown;
    if (width !== this.drawn?.width || height !== this.drawn.height) {
      this.drawn = { width, height };
      this.board.draw();
    }
  }

  #choose(camera) {
    this.picture = new Picture(this.canvas, camera);
    this.blank.hidden = false;
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.board.clear();
  }

  #shape(kind) {
    write(this.element.querySelector("#drawing-how"), HOW[kind]);
    this.board.clear(kind);
  }

  #wanted() {
    return {
      camera: this.#field("camera").value,
      view: nameOf(this.#field("view").value),
      area: this.board.area,
      rotate: Number(this.#field("rotate").value),
      task: this.#field("task").value,
      question: nameOf(this.#field("question").value),
    };
  }

  #write() {
    if (!this.board) return; // it is being made
    const wanted = this.#wanted();
    const fault = faultOf(wanted, this.setup);
    this.#field("question").disabled = !wanted.task;
    this.#field("text").value = fault ? "" : configText(wanted);
    write(this.#field("wrong"), fault);
    write(this.#field("place"), this.board.words);
    this.element.querySelector("[data-do=copy]").disabled = Boolean(fault);
    this.element.querySelector("[data-hint=first]").hidden = !wanted.task || this.setup.chosen;
    write(this.#field("done"), "");
  }

  // A page that is not from this machine, and has no TLS, has no clipboard: the old way serves.
  async #copy() {
    const text = this.#field("text");
    let copied = true;
    try {
      await navigator.clipboard.writeText(text.value);
    } catch {
      text.select();
      copied = document.execCommand("copy");
    }
    if (!copied) text.select();
    clearTimeout(this.done);
    write(this.#field("done"), copied ? "Copied." : "It is selected: copy it by hand.");
    this.done = setTimeout(() => write(this.#field("done"), ""), DONE_MS);
  }

  #field(name) {
    return this.fields.get(name);
  }
}

function options(select, entries) {
  select.replaceChildren(...entries.map(([value, words]) => {
    const made = document.createElement("option");
    mark(made, "value", value);
    made.textContent = words;
    return made;
  }));
}
