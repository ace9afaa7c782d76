// A picture on which a rectangle or a polygon is drawn: with a mouse, a finger, a pen or keys.

import { corners, fit, outline, place, shape } from "./fit.js";
import { percent } from "./format.js";

const NEAR = 16; // pixels within which a point is taken hold of
const STEP = 0.01; // of the picture, for each stroke of a key
const LEAST = 0.01; // a smaller area is none
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Board {
  // changed: is called after each change.
  constructor(frame, changed) {
    this.frame = frame;
    this.svg = frame.querySelector(".views");
    this.canvas = frame.querySelector("canvas");
    this.changed = changed;
    this.kind = "box";
    this.points = []; // of a rectangle two corners that lie opposite each other
    this.held = -1; // which point is dragged
    frame.addEventListener("pointerdown", (event) => this.#take(event));
    frame.addEventListener("pointermove", (event) => this.#drag(event));
    for (const name of ["pointerup", "pointercancel"]) {
      frame.addEventListener(name, () => this.#leave());
    }
    frame.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.draw()).observe(frame);
  }

  clear(kind = this.kind) {
    this.kind = kind;
    this.points = [];
    this.#change();
  }

  // The drawn area as the configuration has it, or null where there is none yet.
  get area() {
    const points = this.points.map((point) => point.map((part) => Math.round(1000 * part) / 1000));
    if (points.length < (this.kind === "box" ? 2 : 3)) return null;
    const [left, top, right, bottom] = around(points);
    if (right - left < LEAST || bottom - top < LEAST) return null;
    return this.kind === "box" ? { box: [left, top, right, bottom] } : { polygon: points };
  }

  // Where it lies, in words.
  get words() {
    if (!this.points.length) return "Nothing is drawn.";
    const [left, top, right, bottom] = around(this.points).map(percent);
    const what = this.kind === "box" ? "Rectangle" : `Polygon of ${this.points.length} points`;
    return `${what}: left ${left}, top ${top}, right ${right}, bottom ${bottom}.`;
  }

  draw() {
    const at = fit(this.frame, this.canvas);
    const spots = this.points.map((point) => place(at, point));
    const made = [];
    if (spots.length > 1) {
      const box = corners(around(this.points)).map((point) => place(at, point));
      if (this.kind === "polygon") made.push(...outline(box, "edge around"));
      made.push(...outline(this.kind === "box" ? box : spots, "edge drawn"));
    }
    made.push(...spots.map(([cx, cy]) => shape("circle", { cx, cy, r: 6, class: "handle" })));
    this.svg.replaceChildren(...made);
  }

  #take(event) {
    if (event.button !== 0 || this.held >= 0) return;
    event.preventDefault();
    this.frame.focus({ focusVisible: false });
    this.frame.setPointerCapture(event.pointerId);
    const at = this.#shares(event);
    this.held = this.#near(event);
    if (this.held < 0 && this.kind === "box") {
      this.points = [at, at];
      this.held = 1;
    } else if (this.held < 0) {
      this.held = this.points.push(at) - 1;
    }
    this.#change();
  }

  #drag(event) {
    if (this.held < 0) return;
    this.points[this.held] = this.#shares(event);
    this.#change();
  }

  #leave() {
    if (this.held < 0) return;
    this.held = -1;
    if (this.kind === "box" && !this.area) this.points = []; // it was only tapped
    this.#change();
  }

  #press(event) {
    const arrow = ARROWS[event.key];
    const least = this.kind === "box" ? 2 : 1;
    if (this.points.length < least && (arrow || event.key === "Enter")) {
      this.points = this.kind === "box" ? [[0.25, 0.25], [0.75, 0.75]] : [[0.5, 0.5]];
    } else if (arrow) {
      this.#move(arrow.map((way) => way * STEP), event.shiftKey);
    } else if (event.key === "Enter" && this.kind === "polygon") {
      this.points.push([...this.points.at(-1)]);
    } else if (event.key === "Backspace" || event.key === "Delete") {
      this.points = this.kind === "box" ? [] : this.points.slice(0, -1);
    } else {
      return;
    }
    event.preventDefault();
    this.#change();
  }

  // Moves the rectangle, or with shift its right and lower edge; of a polygon the last point.
  #move(by, edge) {
    if (this.kind === "polygon") {
      this.points.push(moved(this.points.pop(), by));
      return;
    }
    const [left, top, right, bottom] = around(this.points);
    const [x, y] = by;
    if (edge) {
      this.points = [[left, top], moved([right, bottom], by)];
    } else {
      const within = [clamp(x, -left, 1 - right), clamp(y, -top, 1 - bottom)];
      this.points = [moved([left, top], within), moved([right, bottom], within)];
    }
  }

  #near(event) {
    const at = fit(this.frame, this.canvas);
    const [x, y] = this.#pixels(event);
    if (this.kind === "box" && this.points.length) {
      const all = corners(around(this.points));
      const held = all.findIndex((point) => distance(place(at, point), [x, y]) < NEAR);
      if (held < 0) return -1;
      this.points = [all[(held + 2) % 4], all[held]];
      return 1;
    }
    return this.points.findIndex((point) => distance(place(at, point), [x, y]) < NEAR);
  }

  #pixels(event) {
    const { left, top } = this.frame.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  #shares(event) {
    const at = fit(this.frame, this.canvas);
    const [x, y] = this.#pixels(event);
    return [clamp((x - at.left) / at.width, 0, 1), clamp((y - at.top) / at.height, 0, 1)];
  }

  #change() {
    this.draw();
    this.changed();
  }
}

function around(points) {
  const [xs, ys] = [0, 1].map((way) => points.map((point) => point[way]));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function moved(point, by) {
  return point.map((part, way) => clamp(part + by[way], 0, 1));
}

function clamp(value, least, most) {
  return Math.min(most, Math.max(least, value));
}

function distance([x, y], [u, v]) {
  return Math.hypot(x - u, y - v);
}
