// A camera's views, drawn on its picture and listed below it.

import { corners, fit, outline, place, shape } from "./fit.js";
import { percent, write } from "./format.js";

const COLOURS = 6;
const LETTER = 8; // pixels of a name's letter, at most but for a few

export class Views {
  constructor(frame, list) {
    this.frame = frame;
    this.list = list;
    this.svg = frame.querySelector(".views");
    this.canvas = frame.querySelector("canvas");
    this.drawn = "";
  }

  // views: as the server tells them; shares: by name, of the time that the model is busy.
  show(views, shares) {
    this.#list(views, shares);
    const { frame, canvas } = this;
    const sizes = [frame.clientWidth, frame.clientHeight, canvas.width, canvas.height];
    const drawn = JSON.stringify([views, sizes, views.map(({ name }) => share(shares, name))]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const at = fit(frame, canvas);
    this.svg.replaceChildren(...views.flatMap((view, number) => draw(view, number, at, shares)));
  }

  #list(views, shares) {
    while (this.list.children.length > views.length) this.list.lastElementChild.remove();
    while (this.list.children.length < views.length) {
      const item = document.createElement("li");
      item.append(document.createElement("i"), document.createElement("span"));
      this.list.append(item);
    }
    views.forEach((view, number) => {
      const [dot, words] = this.list.children[number].children;
      dot.className = `colour-${number % COLOURS}`;
      const known = share(shares, view.name);
      write(words, `${view.name}${turned(view)}${known ? `, ${known} of the time` : ""}`);
    });
  }
}

function draw(view, number, at, shares) {
  const box = corners(view.box).map((point) => place(at, point));
  const area = view.polygon?.map((point) => place(at, point));
  const made = outline(area ?? box, "edge");
  if (area) made.unshift(...outline(box, "edge around"));
  const [[x, y], [right]] = box;
  const known = share(shares, view.name);
  const room = Math.floor((right - x - 8) / LETTER);
  made.push(shape("text", { x: x + 6, y: y + 16 }, tag(view, known, room)));
  const group = shape("g", { class: `colour-${number % COLOURS}` });
  group.append(...made);
  return [group];
}

// As much of it as there is room for, in letters.
function tag(view, known, room) {
  const turn = turned(view);
  if (known && view.name.length + turn.length + known.length + 2 <= room) {
    return `${view.name}${turn}, ${known}`;
  }
  const most = Math.max(3, room - turn.length);
  return (view.name.length > most ? `${view.name.slice(0, most - 1)}…` : view.name) + turn;
}

function turned({ rotate }) {
  return rotate ? ` ↻\u202f${rotate}°` : "";
}

// Which share of the time, in words; nothing where nothing is asked about the view.
function share(shares, name) {
  if (!shares || !Object.hasOwn(shares, name)) return "";
  return shares[name] > 0 && shares[name] < 0.005 ? "<\u202f1\u202f%" : percent(shares[name]);
}
