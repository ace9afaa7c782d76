// Drawings of the Model tab: accuracies with their intervals, the confusion matrix, the learning curve.

import { percent, plural } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

export function make(kind, className = "", text = "") {
  const found = document.createElement(kind);
  if (className) found.className = className;
  if (text) found.textContent = text;
  return found;
}

function draw(kind, given, ...inside) {
  const found = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(given)) found.setAttribute(name, String(value));
  found.append(...inside);
  return found;
}

const within = (part) => Math.min(1, Math.max(0, part));

// An accuracy with its interval, each from 0 to 1, as a bar.
export function accuracy(title, value, low, high, hint) {
  const box = make("div", "accuracy");
  box.append(make("h3", "", title), make("b", "", percent(value)));
  const bar = draw(
    "svg",
    { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": hint },
    draw("rect", { class: "ground", x: 0, y: 3, width: 100, height: 4, rx: 2 }),
    draw("rect", { class: "range", x: 100 * within(low), y: 2, width: 100 * (within(high) - within(low)), height: 6, rx: 1 }),
    draw("rect", { class: "value", x: 100 * within(value) - 0.4, y: 0, width: 0.8, height: 10 }),
  );
  box.append(bar, make("p", "hint", hint));
  return box;
}

// By the right label and the answer, numbers of pictures; press(ids, words) shows those of a cell.
export function confusion(cells, press) {
  const table = make("table", "confusion");
  const answers = [...new Set(Object.values(cells).flatMap((row) => Object.keys(row)))];
  const head = make("tr");
  head.append(make("td", "corner", "is ↓  answered →"), ...answers.map((each) => make("th", "", each)));
  table.append(head);
  const most = Math.max(1, ...Object.values(cells).flatMap((row) => Object.values(row).map(({ length }) => length)));
  for (const [right, row] of Object.entries(cells)) {
    const line = make("tr");
    line.append(make("th", "", right));
    for (const answer of answers) {
      const cell = make("td");
      const ids = row[answer];
      if (ids?.length) {
        const button = make("button", right === answer ? "right" : "wrong", String(ids.length));
        const words = `${right}, answered ${answer}`;
        button.type = "button";
        button.title = `Show ${plural(ids.length, "picture")}: ${words}`;
        button.style.setProperty("--share", String(0.15 + (0.85 * ids.length) / most));
        button.addEventListener("click", () => press(ids, words));
        cell.append(button);
      } else cell.append(make("span", "none", ids ? "0" : ""));
      line.append(cell);
    }
    table.append(line);
  }
  return table;
}

// Accuracy against the number of labels, as it was, and as it may go on.
export function curve(points, forecast) {
  const [W, H, left, bottom] = [560, 210, 44, 30];
  const known = points.map(({ fitted_on: x, wrong, answers }) => ({ x, y: 1 - wrong / answers }));
  const last = known.at(-1);
  const ahead = forecast?.accuracy && last && { x: last.x + 0.8 * forecast.more, ...forecast.accuracy };
  const widest = Math.max(...known.map(({ x }) => x), ahead?.x ?? 0, 1);
  const lows = [...known.map(({ y }) => y), ahead?.low ?? 1];
  const least = Math.min(0.9, Math.floor(10 * Math.max(0, Math.min(...lows) - 0.02)) / 10);
  const at = (x) => left + ((W - left - 12) * x) / widest;
  const up = (y) => H - bottom - ((H - bottom - 10) * (within(y) - least)) / (1 - least);
  const lines = [];
  for (let step = 0; step <= 2; step++) {
    const y = least + ((1 - least) * step) / 2;
    lines.push(draw("line", { class: "rule", x1: left, x2: W - 12, y1: up(y), y2: up(y) }));
    lines.push(draw("text", { x: left - 6, y: up(y) + 4, "text-anchor": "end" }, percent(y)));
  }
  for (const x of [0, widest / 2, widest]) {
    lines.push(draw("text", { x: at(x), y: H - 8, "text-anchor": x === widest ? "end" : "middle" }, String(Math.round(x))));
  }
  if (ahead) {
    const shape = `M${at(last.x)} ${up(last.y)}L${at(ahead.x)} ${up(ahead.high)}V${up(ahead.low)}Z`;
    lines.push(draw("path", { class: "ahead", d: shape }));
    const path = `M${at(last.x)} ${up(last.y)}L${at(ahead.x)} ${up(ahead.value)}`;
    lines.push(draw("path", { class: "dashed", d: path }));
  }
  const mean = averaged(known);
  lines.push(draw("path", { class: "line", d: mean.map(({ x, y }, i) => `${i ? "L" : "M"}${at(x)} ${up(y)}`).join("") }));
  for (const { x, y } of known) lines.push(draw("circle", { cx: at(x), cy: up(y), r: 3.5 }));
  const text = `Accuracy on held-out pictures by the number fitted on: ${mean.map(({ x, y }) => `${percent(y)} with ${Math.round(x)}`).join(", ")}`;
  return draw("svg", { class: "curve", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": text }, ...lines);
}

function averaged(points) {
  const sums = new Map();
  for (const { x, y } of points) {
    const key = Math.round(x);
    const [number, sum] = sums.get(key) ?? [0, 0];
    sums.set(key, [number + 1, sum + y]);
  }
  return [...sums].map(([x, [number, sum]]) => ({ x, y: sum / number })).sort((a, b) => a.x - b.x);
}
